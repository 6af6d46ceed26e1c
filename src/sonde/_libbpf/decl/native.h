// native.h: what libbpf does not have.
extern "Python+C" void sonde_on_log(int level, const char *text);
void sonde_log_start(int level_max);

struct sonde_cursor { bool started; bool done; bool by_key; ...; };
int sonde_map_read(int map_fd, struct sonde_cursor *cursor, uint32_t key_bytes, uint32_t value_bytes,
		   void *keys, void *values, uint32_t capacity, uint32_t *count);
int sonde_map_update(int map_fd, uint32_t key_bytes, uint32_t value_bytes, const void *keys,
		     const void *values, uint32_t count, uint64_t flags, uint32_t *done);
int sonde_map_delete(int map_fd, uint32_t key_bytes, const void *keys, uint32_t count, uint32_t *done);

struct sonde_perf_event {
	uint32_t type;
	uint64_t config;
	uint64_t config1;
	uint64_t config2;
	uint64_t period;
	bool is_frequency;
	bool inherit;
	bool inherit_thread;
	bool is_disabled;
	int pid;
	int cpu;
};
struct sonde_perf_count {
	uint64_t value;
	uint64_t enabled_ns;
};
int sonde_perf_event_open(const struct sonde_perf_event *event);
int sonde_mount_detached(const char *filesystem);
int64_t sonde_filesystem_type(int fd);
int sonde_membarrier_global(void);
void sonde_give_back_memory(void);
int sonde_unshare_network(void);
int sonde_spawn_stopped(const char *path, char **argv, char **envp);
const uint8_t *sonde_packaged_digest(const char *path);
