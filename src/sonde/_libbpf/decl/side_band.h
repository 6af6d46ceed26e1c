// Part of native.h, which includes it: cffi reads what the C files are compiled with.
/*
 * What perf tells beside samples (side_band.c): a ring for each CPU, drained into one batch of fixed records.  Paths
 * stand in text, once for each file of a batch.
 */
#define SONDE_SIDE_BAND_MAP 1
#define SONDE_SIDE_BAND_EXEC 2
#define SONDE_SIDE_BAND_FORK 3
#define SONDE_SIDE_BAND_EXIT 4
#define SONDE_SIDE_BAND_FILES 4096
#define SONDE_SIDE_BAND_SLOTS 8192

struct sonde_side_band_event {
	uint64_t time_ns, start, end, file_offset;
	uint32_t pid, parent, file, kind;
};
struct sonde_side_band_file {
	uint64_t inode;
	uint32_t major, minor, path_start, path_bytes;
};
struct sonde_side_band_batch {
	struct sonde_side_band_event *events;
	char *text;
	uint32_t event_count_max, text_bytes_max;
	uint32_t event_count, file_count, text_bytes;
	uint64_t lost;
	struct sonde_side_band_file files[SONDE_SIDE_BAND_FILES];
	uint32_t slots[SONDE_SIDE_BAND_SLOTS]; /* number of a file + 1, by the hash of it */
};
struct sonde_side_band;
int sonde_side_band_open(int cpu, uint32_t data_pages, struct sonde_side_band **ring);
void sonde_side_band_close(struct sonde_side_band *ring);
int sonde_side_band_fd(const struct sonde_side_band *ring);
void sonde_side_band_reset(struct sonde_side_band_batch *batch);
/* 1 where the batch is full before the ring is empty. */
int sonde_side_band_drain(struct sonde_side_band *ring, struct sonde_side_band_batch *batch);
