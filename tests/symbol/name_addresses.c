/* SPDX-License-Identifier: Apache-2.0 */
/* name_addresses FILE: reads virtual addresses (hex, one a line) of an ELF file from stdin, resolves
 * them in one batch and prints "address TAB name TAB kind" for each.
 * name_addresses --demangle: reads names and prints them as the resolver would.
 * For test_against_nm.py. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "symbol/demangle.h"
#include "symbol/resolver.h"

#define ADDRESSES_MAX 100000

static int demangle_lines(void)
{
	_cleanup_buf_ struct buf text = BUF_INIT(DEMANGLE_MAX + 1);
	static char line[65536];

	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		symbol_demangle(line, &text);
		puts(buf_str(&text));
	}
	return 0;
}

static struct module *open_file(struct module_table *t, const char *path)
{
	struct module_key key = {0};
	struct module *m = NULL;
	struct stat st;

	if (stat(path, &st))
		return NULL;
	key.dev = st.st_dev;
	key.ino = st.st_ino;
	if (module_table_intern(t, &key, path, &m) ||
		module_open_fd(t, m, open(path, O_RDONLY | O_CLOEXEC)))
		return NULL;
	return m;
}

static size_t read_addresses(const struct module *m, struct symbol_query *q)
{
	char line[64];
	size_t n = 0;

	while (n < ADDRESSES_MAX && fgets(line, sizeof(line), stdin)) {
		uint64_t off;

		if (module_vaddr_to_offset(m, strtoull(line, NULL, 16), &off))
			q[n++] = (struct symbol_query){
				.space = SYMBOL_MODULE,
				.owner = m->id,
				.addr = off,
			};
	}
	return n;
}

static int name_file(const char *path)
{
	_cleanup_free_ struct symbol_query *q = calloc(ADDRESSES_MAX, sizeof(*q));
	struct resolver_config config = {.debug_dirs = "/nowhere"};
	struct module_table t;
	struct resolver r;
	struct module *m;
	size_t n;
	int e;

	module_table_init(&t, 4, 4);
	m = open_file(&t, path);
	if (!q || !m)
		return 1;
	e = resolver_init(&r, &t, NULL, &config);
	n = read_addresses(m, q);
	if (!e)
		e = resolver_resolve(&r, q, n);
	for (size_t i = 0; i < n && !e; i++) {
		uint64_t vaddr = 0;

		module_offset_to_vaddr(m, q[i].addr, &vaddr);
		printf("%llx\t%s\t%u\n", (unsigned long long)vaddr,
			intern_str(&r.strings, q[i].name), q[i].kind);
	}
	resolver_deinit(&r);
	module_table_deinit(&t);
	return e ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	return strcmp(argv[1], "--demangle") == 0 ? demangle_lines() : name_file(argv[1]);
}
