/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/python/locate.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"
#include "base/fs.h"
#include "elf/headers.h"
#include "runtime/accessor.h"
#include "runtime/symbols.h"

#define SCAN_MAX (48u << 20) // bytes of a file searched for a text
#define SCAN_CHUNK 65536u
#define VERSION_TEXT_MAX 16u
#define EVAL_MIN 4096u // bytes: smaller ones are wrappers (PyEval_EvalFrameEx since 3.6)
#define TSS_KEY 4 // of Py_tss_t: int is_initialized; pthread_key_t key

enum wanted {
	W_RUNTIME,
	W_INTERP_HEAD,
	W_CURRENT,
	W_EVAL,
	W_EVAL_OLD,
	W_EVAL_PARTS,
	W_EVAL_OLD_PARTS,
	W_VERSION,
	W_NONE,
	W_KEY,
	W_GILSTATE,
	W_GET_CURRENT,
	W_GET_UNCHECKED,
	W_UNCHECKED_GET,
	W_HEAD,
	W_TLS,
	W_MAX,
};

static const struct runtime_symbol wanted_names[W_MAX] = {
	[W_RUNTIME] = {.name = "_PyRuntime", .required = true},
	[W_INTERP_HEAD] = {.name = "interp_head", .required = true},
	[W_CURRENT] = {.name = "_PyThreadState_Current", .required = true},
	[W_EVAL] = {.name = "_PyEval_EvalFrameDefault", .required = true},
	[W_EVAL_OLD] = {.name = "PyEval_EvalFrameEx", .required = true},
	[W_EVAL_PARTS] = {.name = "_PyEval_EvalFrameDefault."},
	[W_EVAL_OLD_PARTS] = {.name = "PyEval_EvalFrameEx."},
	[W_VERSION] = {.name = "Py_Version"},
	[W_NONE] = {.name = "_Py_NoneStruct"},
	[W_KEY] = {.name = "autoTLSkey"},
	[W_GILSTATE] = {.name = "PyGILState_GetThisThreadState"},
	[W_GET_CURRENT] = {.name = "_PyThreadState_GetCurrent"},
	[W_GET_UNCHECKED] = {.name = "PyThreadState_GetUnchecked"},
	[W_UNCHECKED_GET] = {.name = "_PyThreadState_UncheckedGet"},
	[W_HEAD] = {.name = "PyInterpreterState_Head"},
	[W_TLS] = {.name = "_Py_tss_tstate"},
};

struct locate {
	const struct module *m;
	struct runtime_symbol w[W_MAX];
	struct py_module *out;
	bool symtab; // there is one: outlined parts have names
};

static uint64_t value(const struct locate *l, enum wanted i)
{
	return l->w[i].n ? l->w[i].symbols[0].value : 0;
}

static ssize_t read_vaddr(const struct module *m, uint64_t vaddr, void *dst, size_t len)
{
	uint64_t off;

	if (!module_vaddr_to_offset(m, vaddr, &off))
		return -ENOENT;
	return module_read(m, off, dst, len);
}

/* The result of running a function of the module; false if there is none. */
static bool run(
	const struct locate *l, enum wanted i, bool stop_at_call, struct accessor_result *ret)
{
	uint8_t bytes[ACCESSOR_CODE_MAX];
	struct accessor_code code = {.bytes = bytes, .vaddr = value(l, i)};
	uint64_t size = l->w[i].n ? l->w[i].symbols[0].size : 0;
	ssize_t n;

	if (!code.vaddr || l->m->machine != EM_X86_64)
		return false;
	n = read_vaddr(l->m, code.vaddr, bytes, MIN(size ? size : 128, sizeof(bytes)));
	if (n <= 0)
		return false;
	code.len = (size_t)n;
	accessor_run(&code, 0, stop_at_call, ret);
	return true;
}

/* ---- version ---- */

uint16_t py_version_of_name(const char *path)
{
	const char *p = strstr(fs_basename(path), "python");
	char *end;
	unsigned long major, minor;

	if (!p || !isdigit((unsigned char)p[6]))
		return 0;
	major = strtoul(p + 6, &end, 10);
	if (*end != '.' || !isdigit((unsigned char)end[1]) || major > 9)
		return 0;
	minor = strtoul(end + 1, NULL, 10);
	return minor > 99 ? 0 : (uint16_t)(major << 8 | minor);
}

/* "3.10.13" or "2.7.18+" and NUL at p. Return its PY_HEX, 0 if it is none. */
static uint32_t parse_version(const uint8_t *p, size_t len)
{
	unsigned parts[3] = {0}, n = 0, digits = 0;

	for (size_t i = 0; i < MIN(len, (size_t)VERSION_TEXT_MAX); i++) {
		if (isdigit(p[i]) && digits < 2) {
			parts[n] = parts[n] * 10 + (p[i] - '0');
			digits++;
		} else if (p[i] == '.' && digits && n < 2) {
			n++;
			digits = 0;
		} else if (n == 2 && digits &&
			   (p[i] == 0 || (p[i] == '+' && i + 1 < len && !p[i + 1]))) {
			return PY_HEX(parts[0], parts[1], parts[2]);
		} else {
			return 0;
		}
	}
	return 0;
}

void py_version_scan(struct py_version_scan *s, const uint8_t *bytes, size_t len)
{
	struct py_offsets unused;

	for (size_t i = 0; i + 6 < len; i++) {
		uint32_t hex;

		// The linker lets the text be the tail of another: "/opt/python/3.10.13".
		if (isalnum(bytes[i]) || bytes[i] == '.' || bytes[i + 2] != '.' ||
			(bytes[i + 1] != '2' && bytes[i + 1] != '3'))
			continue;
		hex = parse_version(bytes + i + 1, len - i - 1);
		// Other versions stand there too, of libraries: only one that CPython had counts.
		if (!hex || hex == s->found || py_offsets_table(hex, EM_X86_64, &unused))
			continue;
		if (s->hint && PY_HEX_MINOR(hex) != s->hint)
			continue;
		if (s->found)
			s->ambiguous = true;
		s->found = hex;
	}
}

static int scan_version(const struct module *m, const char *path, uint32_t *ret)
{
	struct py_version_scan s = {.hint = py_version_of_name(path)};
	_cleanup_free_ uint8_t *chunk = malloc(SCAN_CHUNK + VERSION_TEXT_MAX);
	uint64_t left = SCAN_MAX;

	if (!chunk)
		return -ENOMEM;
	for (unsigned i = 0; i < m->nsegments && !s.ambiguous; i++) {
		const struct module_segment *seg = &m->segments[i];

		if (seg->flags & PF_W)
			continue;
		for (uint64_t at = 0; at < seg->filesz && left >= SCAN_CHUNK; at += SCAN_CHUNK) {
			size_t n = (size_t)MIN(seg->filesz - at, SCAN_CHUNK + VERSION_TEXT_MAX);
			ssize_t got = module_read(m, seg->offset + at, chunk, n);

			if (got <= 0)
				break;
			py_version_scan(&s, chunk, (size_t)got);
			left -= SCAN_CHUNK;
		}
	}
	*ret = s.ambiguous ? 0 : s.found;
	if (!*ret && s.hint)
		*ret = PY_HEX(s.hint >> 8, s.hint & 0xff, PY_MICRO_UNKNOWN);
	return 0;
}

static int find_version(struct locate *l, const char *path)
{
	struct py_module *o = l->out;
	uint8_t bytes[PY_DEBUG_BYTES], word[4];
	struct cursor c = cursor_make(word, sizeof(word));
	ssize_t n = o->runtime ? read_vaddr(l->m, o->runtime, bytes, sizeof(bytes)) : 0;
	uint64_t addr = value(l, W_VERSION);
	int r;

	r = py_offsets_debug(bytes, n > 0 ? (size_t)n : 0, &o->offsets);
	if (r >= 0) {
		o->hex = o->offsets.hex;
		o->refused = r;
		return 0;
	}
	if (addr && read_vaddr(l->m, addr, word, sizeof(word)) == sizeof(word))
		o->hex = cursor_u32(&c);
	if (!o->hex) {
		r = scan_version(l->m, path, &o->hex);
		if (r < 0)
			return r;
	}
	o->refused = py_offsets_table(o->hex, l->m->machine, &o->offsets);
	return 0;
}

/* ---- variables ---- */

static void find_eval(struct locate *l)
{
	enum wanted whole = value(l, W_EVAL) ? W_EVAL : W_EVAL_OLD;
	const struct module_symbol *s = l->w[whole].symbols;
	const struct runtime_symbol *parts =
		&l->w[whole == W_EVAL ? W_EVAL_PARTS : W_EVAL_OLD_PARTS];
	struct py_module *o = l->out;

	if (!value(l, whole) || s->size < EVAL_MIN)
		return;
	o->eval[o->nranges++] = (struct py_range){s->value, s->value + s->size};
	for (unsigned i = 0; i < parts->n && o->nranges < PY_EVAL_RANGES; i++)
		if (parts->symbols[i].type == STT_FUNC && parts->symbols[i].size)
			o->eval[o->nranges++] = (struct py_range){parts->symbols[i].value,
				parts->symbols[i].value + parts->symbols[i].size};
	if (!l->symtab && l->m->machine == EM_X86_64)
		o->nranges = py_locate_outlined(l->m, o->eval, o->nranges);
}

/* The key as the accessor of the main interpreter's states passes it on. */
static void find_key_in_code(struct locate *l)
{
	struct py_module *o = l->out;
	struct accessor_result r;
	uint64_t key = 0;

	if (!run(l, W_GILSTATE, true, &r))
		return;
	if (r.arg.base == ACCESSOR_CONST && !r.arg.scale)
		key = (uint64_t)r.arg.add + TSS_KEY;
	else if (r.arg.base == ACCESSOR_MEM && r.arg.add == 0 && !r.arg.scale)
		key = r.arg.addr;
	else if (r.arg.base == ACCESSOR_MEM && !r.arg.scale && o->runtime)
		key = o->runtime + (uint64_t)r.arg.add + TSS_KEY;
	else if (r.arg.base == ACCESSOR_AT_MEM && o->runtime)
		key = o->runtime + (uint64_t)r.arg.inner;
	if (o->runtime && (key < o->runtime || key - o->runtime > (64u << 10)))
		key = 0;
	o->key = key & 3 ? 0 : key;
}

/* Static TLS of an executable: its block ends at the thread pointer (ELF TLS variant II, x86-64). */
static void find_tls_symbol(struct locate *l)
{
	const struct module_symbol *s = l->w[W_TLS].symbols;
	struct module_segment tls, interp;
	bool program = l->m->elf_type == ET_EXEC || module_phdr(l->m, PT_INTERP, 0, &interp) == 0;
	uint64_t align = 64;

	if (!l->w[W_TLS].n || s->type != STT_TLS || !program || l->m->machine != EM_X86_64 ||
		module_phdr(l->m, PT_TLS, 0, &tls))
		return;
	// Blocks are aligned to at most 64 in practice; CPython's own variables need 8.
	align = tls.memsz % align ? 8 : align;
	l->out->tls_kind = PY_TLS_OFFSET;
	l->out->tls_off = (int64_t)s->value - (int64_t)((tls.memsz + align - 1) / align * align);
}

static void find_tls(struct locate *l)
{
	static const enum wanted accessors[] = {W_GET_CURRENT, W_GET_UNCHECKED, W_UNCHECKED_GET};
	struct py_module *o = l->out;
	struct accessor_result r;

	for (unsigned i = 0; i < ARRAY_SIZE(accessors); i++) {
		if (!run(l, accessors[i], false, &r) || r.returned != 1)
			continue;
		if (r.ret.base == ACCESSOR_AT_TP && !r.ret.inner_scale)
			o->tls_kind = PY_TLS_OFFSET;
		else if (r.ret.base == ACCESSOR_AT_TP_MEM)
			o->tls_kind = PY_TLS_GOT;
		else if (r.ret.base == ACCESSOR_AT_BLOCK)
			o->tls_kind = PY_TLS_PAIR;
		else
			continue;
		o->tls_addr = r.ret.addr;
		o->tls_off = r.ret.inner;
		return;
	}
	find_tls_symbol(l);
}

static void find_variables(struct locate *l)
{
	struct py_module *o = l->out;
	struct accessor_result r;

	o->none = value(l, W_NONE);
	o->interp_head = value(l, W_INTERP_HEAD);
	o->current = value(l, W_CURRENT);
	o->key = value(l, W_KEY);
	if (o->runtime) {
		const struct py_offsets *f = &o->offsets;

		o->interp_head = o->runtime + f->runtime_interp_head;
		if (f->runtime_tstate_current)
			o->current = o->runtime + f->runtime_tstate_current;
		if (f->runtime_key)
			o->key = o->runtime + f->runtime_key;
	}
	if (!o->interp_head && run(l, W_HEAD, true, &r) && r.ret.base == ACCESSOR_MEM && !r.ret.add)
		o->interp_head = r.ret.addr;
	if (!o->key)
		find_key_in_code(l);
	if (o->offsets.hex >= PY_HEX(3, 12, 0) && l->m->machine == EM_X86_64)
		find_tls(l);
}

int py_locate(const struct module *m, const char *path, struct py_module *ret)
{
	struct module_section section;
	struct py_module o = {0};
	struct locate l = {.m = m, .out = &o};
	bool has_section;
	int r, s;

	memcpy(l.w, wanted_names, sizeof(l.w));
	has_section = module_section(m, ".PyRuntime", &section) == 0 && section.vaddr;
	r = runtime_symbols_find(m, SHT_DYNSYM, l.w, W_MAX);
	if (r == -ENOMEM)
		return r;
	// Without a trace in the dynamic table: an embedder that exports nothing, or no Python at all.
	s = runtime_symbols_find(m, SHT_SYMTAB, l.w, W_MAX);
	if (s == -ENOMEM)
		return s;
	l.symtab = s == 0;
	o.runtime = has_section ? section.vaddr : value(&l, W_RUNTIME);
	if (!o.runtime && !value(&l, W_CURRENT) && !value(&l, W_INTERP_HEAD))
		return -ENOENT;
	find_eval(&l);
	if (!o.nranges && !has_section)
		return -ENOENT;
	r = find_version(&l, path);
	if (r)
		return r;
	if (!o.refused)
		find_variables(&l);
	*ret = o;
	return 0;
}
