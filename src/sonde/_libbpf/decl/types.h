// Names that several areas of libbpf share.
typedef uint8_t __u8;
typedef int32_t __s32;
typedef uint32_t __u32;
typedef uint64_t __u64;
struct bpf_object;
struct bpf_program;
struct bpf_map;
struct bpf_link;
struct btf;
struct bpf_insn;
enum bpf_attach_type { BPF_XDP, BPF_TCX_INGRESS, BPF_TCX_EGRESS, ... };
