/* SPDX-License-Identifier: Apache-2.0 */
/* The `gprofiler` of the tarball: starts the program in lib/ beside it with the loader and the libraries
 * that came along, so that nothing of the target system is needed, not even a C library or a shell.
 * Linked statically. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIR_MAX 4096
#define LOADER "lib/ld-linux-x86-64.so.2"
#define LOADER_ARGS 6

int main(int argc, char **argv)
{
	char dir[DIR_MAX], loader[DIR_MAX + 64], libs[DIR_MAX + 64], program[DIR_MAX + 64];
	ssize_t len = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char **args = calloc((size_t)argc + LOADER_ARGS, sizeof(*args));
	char *slash;
	int n = 0;

	if (len < 0 || !args) {
		fprintf(stderr, "gprofiler: /proc must be mounted: %s\n", strerror(errno));
		return 1;
	}
	dir[len] = 0;
	slash = strrchr(dir, '/');
	if (slash)
		slash[0] = 0;
	snprintf(loader, sizeof(loader), "%s/" LOADER, dir);
	snprintf(libs, sizeof(libs), "%s/lib", dir);
	snprintf(program, sizeof(program), "%s/lib/gprofiler", dir);
	args[n++] = loader;
	args[n++] = "--library-path";
	args[n++] = libs;
	args[n++] = program;
	for (int i = 1; i < argc; i++)
		args[n++] = argv[i];
	execv(loader, args);
	fprintf(stderr, "gprofiler: %s: %s\n", loader, strerror(errno));
	return 1;
}
