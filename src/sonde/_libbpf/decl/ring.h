// native.h: the ring buffer's consumer.
struct sonde_ring;
int sonde_ring_open(int map_fd, uint32_t size_bytes, uint32_t window_bytes, struct sonde_ring **ring);
void sonde_ring_close(struct sonde_ring *ring);
uint64_t sonde_ring_pending(const struct sonde_ring *ring);
int64_t sonde_ring_drain_fixed(struct sonde_ring *ring, void *out, uint32_t record_bytes, uint64_t records_max);
int64_t sonde_ring_drain_variable(struct sonde_ring *ring, void *out, uint64_t out_bytes,
				  uint64_t *offsets, uint32_t *lengths, uint64_t records_max);

struct sonde_perf_ring;
int sonde_perf_ring_open(int map_fd, uint32_t pages_per_cpu, struct sonde_perf_ring **ring);
void sonde_perf_ring_close(struct sonde_perf_ring *ring);
int sonde_perf_ring_fd(const struct sonde_perf_ring *ring);
int sonde_perf_ring_consume(struct sonde_perf_ring *ring);
void sonde_perf_ring_reset(struct sonde_perf_ring *ring);
const uint8_t *sonde_perf_ring_data(const struct sonde_perf_ring *ring, uint64_t *data_bytes);
const uint64_t *sonde_perf_ring_offsets(const struct sonde_perf_ring *ring, uint64_t *records);
const uint32_t *sonde_perf_ring_lengths(const struct sonde_perf_ring *ring);
uint64_t sonde_perf_ring_lost(const struct sonde_perf_ring *ring);

// bpf/libbpf.h: the user ring buffer's producer.
struct user_ring_buffer_opts { size_t sz; };
struct user_ring_buffer *user_ring_buffer__new(int map_fd, const struct user_ring_buffer_opts *opts);
void *user_ring_buffer__reserve(struct user_ring_buffer *rb, __u32 size);
void user_ring_buffer__submit(struct user_ring_buffer *rb, void *sample);
void user_ring_buffer__free(struct user_ring_buffer *rb);
