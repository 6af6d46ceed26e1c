/* SPDX-License-Identifier: BSD-2-Clause */
/* Rewrite one BPF object through libbpf's linker: it keeps BTF and drops DWARF and what else nothing loads. */
#include <stdio.h>
#include <string.h>

#include <bpf/libbpf.h>

int main(int argc, char **argv)
{
	struct bpf_linker *linker;
	int error;

	if (argc != 3) {
		fprintf(stderr, "usage: %s OUTPUT INPUT\n", argv[0]);
		return 2;
	}
	linker = bpf_linker__new(argv[1], NULL);
	if (!linker) {
		perror(argv[1]);
		return 1;
	}
	error = bpf_linker__add_file(linker, argv[2], NULL);
	if (!error)
		error = bpf_linker__finalize(linker);
	if (error)
		fprintf(stderr, "%s: %s\n", argv[2], strerror(-error));
	bpf_linker__free(linker);
	return error ? 1 : 0;
}
