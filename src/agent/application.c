/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/application.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "agent/java_facts.h"
#include "agent/java_flags.h"
#include "base/cursor.h"
#include "base/fs.h"
#include "base/log.h"
#include "process/maps.h"
#include "process/memory.h"
#include "process/root.h"
#include "runtime/python/offsets.h"

#define LOGGER "gprofiler.metadata"
#define AUXV_MAX 4096
#define EXECFN_MAX 4096

/* Libraries that tell what a process runs, by the start of their name. */
enum library {
	LIB_PYTHON,
	LIB_JVM,
	LIB_RUBY,
	LIB_CLR,
	LIB_NODE,
	LIB_MUSL,
	LIBRARIES,
};
static const char *const library_names[LIBRARIES] = {
	[LIB_PYTHON] = "libpython",
	[LIB_JVM] = "libjvm.so",
	[LIB_RUBY] = "libruby",
	[LIB_CLR] = "libcoreclr.so",
	[LIB_NODE] = "libnode.so",
	[LIB_MUSL] = "ld-musl",
};

struct subject {
	struct applications *a;
	uint32_t pid;
	char libraries[LIBRARIES][PATH_MAX]; // "" not mapped
	bool python; // a mapping of that kind (2.6)
	bool ruby;
	const char *exe; // last component
	struct program_file program; // of exe
};

int applications_init(struct applications *a, const struct options *options, const char *proc)
{
	*a = (struct applications){.options = options, .proc = proc};
	arguments_init(&a->args);
	java_options_init(&a->java_options);
	program_files_init(&a->files);
	a->appid = (struct appid_config){
		.proc = proc, .filters = a->filters, .spark = options->java_spark_appid};
	vec_foreach (pattern, &options->app_id_args_filters) {
		int r = a->appid.nfilters == APPID_FILTERS_MAX
				? -E2BIG
				: appid_filter_compile(*pattern, &a->filters[a->appid.nfilters]);

		if (r) {
			log_error(LOGGER, "--app-id-args-filter %s: %s", *pattern,
				r == -EINVAL ? "not a regular expression" : strerror(-r));
			applications_deinit(a);
			return r;
		}
		a->appid.nfilters++;
	}
	return 0;
}

void applications_deinit(struct applications *a)
{
	for (unsigned i = 0; i < a->appid.nfilters; i++)
		regfree(&a->filters[i]);
	a->appid.nfilters = 0;
	arguments_deinit(&a->args);
	java_options_deinit(&a->java_options);
	program_files_deinit(&a->files);
}

static bool starts_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Is it Python that such a file is mapped for? */
static bool shows_python(const char *path, const char *name)
{
	return starts_with(name, "python") || starts_with(name, "libpython") ||
	       strstr(path, "/site-packages/") || strstr(path, "/dist-packages/");
}

static bool shows_ruby(const char *name)
{
	return starts_with(name, "ruby") || starts_with(name, "libruby");
}

bool application_shows(const struct process_table *t, const struct process *p)
{
	vec_foreach (m, &p->maps) {
		const char *path = intern_str(&t->strings, m->path), *name = fs_basename(path);

		if (path[0] == '/' && (shows_python(path, name) || shows_ruby(name)))
			return true;
		for (unsigned i = 0; i < LIBRARIES; i++)
			if (i != LIB_MUSL && starts_with(name, library_names[i]))
				return true;
	}
	return p->maps.len == 0;
}

static int see_mapping(void *arg, const struct maps_line *line)
{
	const char *name = fs_basename(line->path);
	struct subject *s = arg;

	if (line->path[0] != '/')
		return 0;
	for (unsigned i = 0; i < LIBRARIES; i++) {
		bool deleted;

		if (s->libraries[i][0] || !starts_with(name, library_names[i]))
			continue;
		snprintf(s->libraries[i], PATH_MAX, "%.*s",
			(int)MIN(maps_path_len(line->path, &deleted), (size_t)PATH_MAX - 1),
			line->path);
	}
	s->python = s->python || shows_python(line->path, name);
	s->ruby = s->ruby || shows_ruby(name);
	return 0;
}

static int see_mappings(struct subject *s)
{
	_cleanup_close_ int fd = -1;
	char path[128];

	snprintf(path, sizeof(path), "%s/%u/maps", s->a->proc, s->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : maps_read_fd(fd, see_mapping, s);
}

/* The program itself; through /proc/PID/exe, which leads to it even when it was deleted. */
static int open_exe(const struct subject *s)
{
	char path[128];
	int fd;

	// Like any mapping: what is no regular file (a memfd) is never opened.
	if (maps_kind(s->a->args.exe) != MAPPING_FILE)
		return -ENOENT;
	snprintf(path, sizeof(path), "%s/%u/exe", s->a->proc, s->pid);
	fd = open(path, O_PATH | O_CLOEXEC);
	return fd < 0 ? -errno : process_root_reopen(fd);
}

static void look_exe(struct subject *s, unsigned look)
{
	const struct program_file *f;

	if (program_files_look(&s->a->files, open_exe(s), s->a->args.exe, look, &f) == 0)
		s->program = *f;
}

static void look_library(
	struct subject *s, enum library which, unsigned look, struct program_file *ret)
{
	const struct program_file *f;
	const char *path = s->libraries[which];

	*ret = (struct program_file){0};
	if (path[0] && program_files_look(&s->a->files, process_root_open(s->a->proc, s->pid, path),
			       path, look, &f) == 0)
		*ret = *f;
}

static void add_text(json_t *o, const char *key, const char *value)
{
	json_object_set_new(o, key, value && value[0] ? json_text(value) : json_null());
}

/* The name it was executed by. */
static void add_execfn(const struct subject *s, json_t *o)
{
	_cleanup_buf_ struct buf auxv = BUF_INIT(AUXV_MAX);
	char path[128], text[EXECFN_MAX] = "";
	struct cursor c;
	uint64_t addr = 0;

	snprintf(path, sizeof(path), "%s/%u/auxv", s->a->proc, s->pid);
	fs_read_file(path, &auxv);
	c = cursor_make(auxv.data, auxv.len);
	while (!addr && cursor_left(&c) >= 16) {
		uint64_t type = cursor_u64(&c), value = cursor_u64(&c);

		if (type == AT_EXECFN)
			addr = value;
	}
	if (addr) {
		ssize_t n = process_memory_read_some(s->pid, addr, text, sizeof(text) - 1);

		// It stands at the very end of the stack: what follows may be unreadable.
		if (n <= 0)
			n = process_memory_read_some(
				s->pid, addr, text, MIN(sizeof(text) - 1, 4096 - addr % 4096));
		text[n < 0 ? 0 : n] = 0;
	}
	add_text(o, "execfn", text);
}

static const char *arch_name(uint16_t machine)
{
	switch (machine) {
	case EM_X86_64:
		return "x86_64";
	case EM_AARCH64:
		return "aarch64";
	}
	return "error: unknown machine";
}

static void add_base(const struct subject *s, json_t *o)
{
	add_text(o, "exe", s->a->args.exe);
	add_execfn(s, o);
	add_text(o, "arch", arch_name(s->program.machine));
}

/* "Python 3.11.2"; of a server that embeds it, whose binary the reference cannot ask, "Python 3.11". */
static void add_python_version(const struct subject *s, json_t *o, uint32_t hex)
{
	static const char *const embedding[] = {"uwsgi", "gunicorn", "uvicorn"};
	bool minor_only = PY_HEX_MICRO(hex) == PY_MICRO_UNKNOWN;
	char text[64] = "";

	for (size_t i = 0; i < ARRAY_SIZE(embedding); i++)
		minor_only = minor_only || !strcmp(s->exe, embedding[i]);
	if (hex && minor_only)
		snprintf(text, sizeof(text), "Python %u.%u", hex >> 24, hex >> 16 & 0xff);
	else if (hex)
		snprintf(text, sizeof(text), "Python %u.%u.%u", hex >> 24, hex >> 16 & 0xff,
			PY_HEX_MICRO(hex));
	add_text(o, "python_version", text);
}

static json_t *python_metadata(struct subject *s)
{
	struct program_file lib;
	json_t *o = json_object();
	bool ucs4;

	look_exe(s, PROGRAM_ELF_ID | PROGRAM_PYTHON);
	look_library(s, LIB_PYTHON, PROGRAM_ELF_ID | PROGRAM_PYTHON, &lib);
	ucs4 = lib.python ? lib.ucs4 : s->program.ucs4;
	add_python_version(s, o, lib.python ? lib.python : s->program.python);
	add_text(o, "exe_elfid", s->program.elf_id);
	add_text(o, "libpython_elfid", lib.elf_id);
	add_text(o, "sys_maxunicode",
		(lib.python ? lib.python : s->program.python) >> 24 != 2 ? ""
		: ucs4							 ? "1114111"
									 : "65535");
	return o;
}

static json_t *java_metadata(struct subject *s, bool published)
{
	_cleanup_buf_ struct buf text = BUF_INIT(4096);
	struct program_file lib;
	json_t *o = json_object(), *flags = NULL;

	look_exe(s, PROGRAM_HEADERS);
	look_library(s, LIB_JVM, PROGRAM_ELF_ID, &lib);
	java_version(
		s->a->proc, s->pid, s->libraries[LIB_JVM], published ? &s->a->hsperf : NULL, &text);
	add_text(o, "java_version", buf_str(&text));
	add_text(o, "libjvm_elfid", lib.elf_id);
	if (java_options_read(&s->a->java_options, s->a->proc, s->pid, &s->a->args) == 0)
		flags = java_flags(&s->a->java_options, s->a->options->java_jvm_flags);
	json_object_set_new(o, "jvm_flags", flags ? flags : json_array());
	return o;
}

/* Of a program that is not called ruby the reference says nothing. */
static json_t *ruby_metadata(struct subject *s)
{
	struct program_file lib;
	json_t *o;

	if (!starts_with(s->exe, "ruby"))
		return NULL;
	o = json_object();
	look_exe(s, PROGRAM_ELF_ID | PROGRAM_RUBY);
	look_library(s, LIB_RUBY, PROGRAM_ELF_ID | PROGRAM_RUBY, &lib);
	add_text(o, "ruby_version", lib.ruby[0] ? lib.ruby : s->program.ruby);
	add_text(o, "exe_elfid", s->program.elf_id);
	add_text(o, "libruby_elfid", lib.elf_id);
	return o;
}

/* .../shared/Microsoft.NETCore.App/6.0.8/libcoreclr.so; a program that carries its own says nothing. */
static json_t *dotnet_metadata(struct subject *s)
{
	const char *path = s->libraries[LIB_CLR], *at = strstr(path, "/Microsoft.NETCore.App/");
	json_t *o = json_object();
	char version[64];

	look_exe(s, PROGRAM_HEADERS);
	if (!at)
		return o;
	at += strlen("/Microsoft.NETCore.App/");
	snprintf(version, sizeof(version), "%.*s", (int)strcspn(at, "/"), at);
	add_text(o, "dotnet_version", version);
	return o;
}

static void add_linkage(const struct subject *s, json_t *o)
{
	add_text(o, "link", s->program.dynamic ? "dynamic" : "static");
	add_text(o, "libc",
		!s->program.dynamic	    ? ""
		: s->libraries[LIB_MUSL][0] ? "musl"
					    : "glibc");
}

static json_t *go_metadata(struct subject *s)
{
	json_t *o = json_object();

	add_text(o, "golang_version", s->program.go);
	json_object_set_new(o, "stripped", json_boolean(s->program.stripped));
	add_linkage(s, o);
	return o;
}

static json_t *node_metadata(struct subject *s)
{
	struct program_file lib;
	json_t *o = json_object();

	look_exe(s, PROGRAM_NODE);
	look_library(s, LIB_NODE, PROGRAM_NODE, &lib);
	add_text(o, "node_version", lib.node[0] ? lib.node : s->program.node);
	add_linkage(s, o);
	return o;
}

static json_t *metadata_of(struct subject *s, unsigned runtimes, bool published)
{
	json_t *o = NULL;

	if (runtimes & APPID_JAVA) {
		o = java_metadata(s, published);
	} else if (runtimes & APPID_PYTHON) {
		o = python_metadata(s);
	} else if (runtimes & APPID_RUBY) {
		o = ruby_metadata(s);
	} else if (s->libraries[LIB_CLR][0] || !strcmp(s->exe, "dotnet")) {
		o = dotnet_metadata(s);
	} else if (runtimes & APPID_NODE) {
		o = node_metadata(s);
	} else {
		look_exe(s, PROGRAM_GO);
		o = s->program.is_go ? go_metadata(s) : NULL;
	}
	if (o)
		add_base(s, o);
	return o;
}

/* Which interpreters it runs: by what it maps, node by its name. */
static unsigned runtimes_of(const struct subject *s)
{
	const char *name = fs_basename(argument(&s->a->args, 0));

	if (s->libraries[LIB_JVM][0] || !strcmp(s->exe, "java"))
		return APPID_JAVA;
	return (s->python ? APPID_PYTHON : 0u) | (s->ruby ? APPID_RUBY : 0u) |
	       (!strcmp(s->exe, "node") || !strcmp(name, "node") ? APPID_NODE : 0u);
}

static bool stat_exe(const struct applications *a, uint32_t pid, struct stat *ret)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%u/exe", a->proc, pid);
	return stat(path, ret) == 0;
}

bool application_is_plain(const struct applications *a, uint32_t pid)
{
	struct stat st;

	return stat_exe(a, pid, &st) && program_files_plain(&a->files, &st);
}

/* There was nothing to tell of s, whose program was that of the status before it was read. Node is known by its
 * arguments, too. */
static void note_plain(struct subject *s, const struct stat *before)
{
	struct stat now;

	if (!starts_with(s->exe, "node") && stat_exe(s->a, s->pid, &now) &&
		now.st_dev == before->st_dev && now.st_ino == before->st_ino)
		program_files_set_plain(&s->a->files, &now);
}

int application_read(struct applications *a, uint32_t pid, struct buf *appid, json_t **ret_metadata)
{
	_cleanup_free_ struct subject *s = calloc(1, sizeof(*s));
	struct appid_process p = {.pid = pid, .args = &a->args};
	bool published = false, has_exe;
	struct stat exe;
	int r;

	*ret_metadata = NULL;
	if (!s)
		return -ENOMEM;
	s->a = a;
	s->pid = pid;
	has_exe = stat_exe(a, pid, &exe);
	r = arguments_read(&a->args, a->proc, pid);
	if (r || !a->args.argc)
		return r;
	s->exe = fs_basename(a->args.exe);
	r = see_mappings(s);
	if (r == -ENOMEM || r == -ENOENT || r == -ESRCH)
		return r == -ENOMEM ? r : -ESRCH;
	p.runtimes = runtimes_of(s);
	if (p.runtimes & APPID_JAVA) {
		published = hsperf_read(a->proc, pid, &a->hsperf) == 0;
		p.java_command = published && a->hsperf.command[0] ? a->hsperf.command : NULL;
		p.java_args = published && a->hsperf.vm_args[0] ? a->hsperf.vm_args : NULL;
	}
	r = appid && p.runtimes ? appid_find(&a->appid, &p, appid) : -ENOENT;
	if (r == -ENOMEM)
		return r;
	if (a->options->application_metadata)
		*ret_metadata = metadata_of(s, p.runtimes, published);
	if (has_exe && !p.runtimes && !*ret_metadata)
		note_plain(s, &exe);
	return 0;
}
