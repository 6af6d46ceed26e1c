// bpf/bpf.h and bpf/libbpf.h: what features.py tries. Enums are int here: map.h and program.h declare them, later.
struct bpf_prog_load_opts {
	size_t sz;
	int expected_attach_type;
	__u32 attach_btf_id;
	__u32 log_level;
	__u32 log_size;
	char *log_buf;
	...;
};
int bpf_prog_load(int prog_type, const char *prog_name, const char *license,
		  const struct bpf_insn *insns, size_t insn_cnt, struct bpf_prog_load_opts *opts);
int bpf_raw_tracepoint_open(const char *name, int prog_fd);
int libbpf_find_vmlinux_btf_id(const char *name, int attach_type);
int libbpf_probe_bpf_map_type(int map_type, const void *opts);

struct bpf_tc_hook { size_t sz; int ifindex; int attach_point; ...; };
static const int BPF_TC_INGRESS;
int bpf_tc_hook_create(struct bpf_tc_hook *hook);

static const int BPF_MAP_TYPE_HASH;
static const int BPF_F_NO_PREALLOC;
static const int BPF_MAP_TYPE_PERCPU_ARRAY;
static const int BPF_MAP_TYPE_RINGBUF;
static const int BPF_MAP_TYPE_USER_RINGBUF;
static const int BPF_MAP_TYPE_TASK_STORAGE;
static const int BPF_PERF_EVENT;
static const int BPF_FUNC_task_storage_get;
static const int BPF_FUNC_get_current_task_btf;
static const int BPF_FUNC_get_attach_cookie;
static const int BPF_FUNC_loop;
