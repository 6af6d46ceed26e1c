// native.h: giving up privileges.
int sonde_set_capabilities(uint64_t effective, uint64_t permitted, uint64_t inheritable);
int sonde_keep_bounding(uint64_t kept);
int sonde_clear_ambient(void);
int sonde_set_no_new_privileges(void);
int sonde_keep_capabilities_over_setuid(bool keep);
