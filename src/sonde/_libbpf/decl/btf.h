// bpf/btf.h: type information. Only its bytes: sonde.bpf.btf reads the types itself.
const void *btf__raw_data(const struct btf *btf, __u32 *size);
struct btf *btf__load_from_kernel_by_id(__u32 id);
void btf__free(struct btf *btf);
