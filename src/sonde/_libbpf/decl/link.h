// bpf/libbpf.h and bpf/bpf.h: links.
struct bpf_link_info { __u32 type; __u32 id; __u32 prog_id; union { struct { __u32 ifindex; } xdp; }; ...; };
int bpf_link_get_info_by_fd(int link_fd, struct bpf_link_info *info, __u32 *info_len);
int bpf_link_get_next_id(__u32 start_id, __u32 *next_id);
int bpf_link_get_fd_by_id(__u32 id);
int bpf_link__fd(const struct bpf_link *link);
int bpf_link__destroy(struct bpf_link *link);
struct bpf_link_update_opts { size_t sz; __u32 flags; ...; };
int bpf_link_update(int link_fd, int new_prog_fd, const struct bpf_link_update_opts *opts);
int bpf_xdp_query_id(int ifindex, int flags, __u32 *prog_id);

// Made by the kernel: only a descriptor.
union bpf_iter_link_info {
	struct { __u32 map_fd; } map;
	struct { __u32 tid; __u32 pid; __u32 pid_fd; } task;
	...;
};
struct bpf_link_create_opts {
	size_t sz;
	__u32 flags;
	union bpf_iter_link_info *iter_info;
	__u32 iter_info_len;
	union {
		struct { unsigned long long bpf_cookie; } perf_event;
		struct { __u32 flags; __u32 cnt; const char **syms; const unsigned long *addrs; const unsigned long long *cookies; } kprobe_multi;
		struct { __u32 flags; __u32 cnt; const char *path; const unsigned long *offsets; const unsigned long *ref_ctr_offsets; const unsigned long long *cookies; __u32 pid; } uprobe_multi;
	};
	...;
};
int bpf_link_create(int prog_fd, int target_fd, enum bpf_attach_type attach_type, const struct bpf_link_create_opts *opts);
int bpf_iter_create(int link_fd);

// Made by libbpf, which has work to do beside it: symbols, USDT's notes.
struct bpf_link *bpf_program__attach(const struct bpf_program *prog);
struct bpf_kprobe_opts { size_t sz; __u64 bpf_cookie; size_t offset; bool retprobe; ...; };
struct bpf_link *bpf_program__attach_kprobe_opts(const struct bpf_program *prog, const char *func_name, const struct bpf_kprobe_opts *opts);
struct bpf_kprobe_multi_opts { size_t sz; const char **syms; const unsigned long *addrs; const unsigned long long *cookies; size_t cnt; bool retprobe; ...; };
struct bpf_link *bpf_program__attach_kprobe_multi_opts(const struct bpf_program *prog, const char *pattern, const struct bpf_kprobe_multi_opts *opts);
struct bpf_uprobe_opts { size_t sz; size_t ref_ctr_offset; __u64 bpf_cookie; bool retprobe; const char *func_name; ...; };
struct bpf_link *bpf_program__attach_uprobe_opts(const struct bpf_program *prog, int pid, const char *binary_path, size_t func_offset, const struct bpf_uprobe_opts *opts);
struct bpf_uprobe_multi_opts { size_t sz; const char **syms; const unsigned long *offsets; const unsigned long *ref_ctr_offsets; const unsigned long long *cookies; size_t cnt; bool retprobe; ...; };
struct bpf_link *bpf_program__attach_uprobe_multi(const struct bpf_program *prog, int pid, const char *binary_path, const char *func_pattern, const struct bpf_uprobe_multi_opts *opts);
struct bpf_usdt_opts { size_t sz; __u64 usdt_cookie; ...; };
struct bpf_link *bpf_program__attach_usdt(const struct bpf_program *prog, int pid, const char *binary_path, const char *usdt_provider, const char *usdt_name, const struct bpf_usdt_opts *opts);
struct bpf_raw_tracepoint_opts { size_t sz; __u64 cookie; ...; };
struct bpf_link *bpf_program__attach_raw_tracepoint_opts(const struct bpf_program *prog, const char *tp_name, struct bpf_raw_tracepoint_opts *opts);
struct bpf_trace_opts { size_t sz; __u64 cookie; ...; };
struct bpf_link *bpf_program__attach_trace_opts(const struct bpf_program *prog, const struct bpf_trace_opts *opts);
struct bpf_iter_attach_opts { size_t sz; union bpf_iter_link_info *link_info; __u32 link_info_len; ...; };
struct bpf_link *bpf_program__attach_iter(const struct bpf_program *prog, const struct bpf_iter_attach_opts *opts);
