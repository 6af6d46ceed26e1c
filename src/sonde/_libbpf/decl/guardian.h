// native.h: programs on clsact.
struct sonde_clsact {
	uint32_t interface;
	uint32_t parent;
	uint32_t program_fd;
	uint32_t program_id;
	bool first;
	bool owns_qdisc;
};
struct sonde_guardian { int pid; int channel; };
int sonde_guardian_start(struct sonde_clsact *place, struct sonde_guardian *guardian);
int sonde_guardian_stop(struct sonde_guardian *guardian, struct sonde_clsact *place);
int sonde_clsact_remove(struct sonde_clsact *place);
