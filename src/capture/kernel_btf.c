/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/kernel_btf.h"

#include <errno.h>
#include <linux/btf.h>
#include <stdbool.h>
#include <string.h>

#include "base/cleanup.h"

#define BYTES_MAX (256u << 20) // of types or strings
#define NAMES_MAX (2 * KERNEL_BTF_MEMBERS_MAX)
#define NAME_BYTES 32 // longer ones are not asked for
#define NESTED_MAX 32
#define PASSES_MAX 4 // a nameless struct may come before the one it is in

/* A nameless struct or union inside of one that was asked for. */
struct nested {
	uint32_t id, base; // type id; offset in that one
	const char *type; // whose name counts
};

struct search {
	FILE *f;
	struct btf_header head;
	struct kernel_btf_member *members;
	size_t nmembers;
	struct {
		const char *text;
		size_t len;
		uint32_t offset; // in the strings, 0 not there
	} names[NAMES_MAX];
	unsigned nnames;
	struct nested nested[NESTED_MAX];
	unsigned nnested;
};

static void want_name(struct search *s, const char *text)
{
	for (unsigned i = 0; i < s->nnames; i++)
		if (!strcmp(s->names[i].text, text))
			return;
	s->names[s->nnames].text = text;
	s->names[s->nnames].len = strlen(text);
	s->names[s->nnames++].offset = 0;
}

/* The wanted name at an offset of the strings, or NULL. */
static const char *name_at(const struct search *s, uint32_t offset)
{
	for (unsigned i = 0; offset && i < s->nnames; i++)
		if (s->names[i].offset == offset)
			return s->names[i].text;
	return NULL;
}

static int seek(const struct search *s, uint32_t off)
{
	return fseek(s->f, (long)s->head.hdr_len + off, SEEK_SET) ? -EBADMSG : 0;
}

/* Finds the wanted names among the strings: each stands there once. */
static int find_names(struct search *s)
{
	char text[NAME_BYTES];
	uint32_t start = 0;
	size_t len = 0;

	if (seek(s, s->head.str_off))
		return -EBADMSG;
	for (uint32_t at = 0; at < s->head.str_len; at++) {
		int c = getc_unlocked(s->f);

		if (c == EOF)
			return -EBADMSG;
		if (c) {
			if (len < sizeof(text))
				text[len] = (char)c;
			len++;
			continue;
		}
		for (unsigned i = 0; len < sizeof(text) && i < s->nnames; i++)
			if (s->names[i].len == len && !memcmp(s->names[i].text, text, len))
				s->names[i].offset = start;
		start = at + 1;
		len = 0;
	}
	return 0;
}

static bool take(struct search *s, void *dst, size_t len, uint32_t *at)
{
	*at += (uint32_t)len;
	return *at <= s->head.type_len && fread_unlocked(dst, 1, len, s->f) == len;
}

static bool skip(struct search *s, size_t len, uint32_t *at)
{
	char scratch[4096];

	for (size_t n; len; len -= n) {
		n = MIN(len, sizeof(scratch));
		if (!take(s, scratch, n, at))
			return false;
	}
	return true;
}

static size_t tail_bytes(uint32_t kind, uint32_t vlen)
{
	switch (kind) {
	case BTF_KIND_INT:
	case BTF_KIND_VAR:
	case BTF_KIND_DECL_TAG:
		return 4;
	case BTF_KIND_ARRAY:
		return sizeof(struct btf_array);
	case BTF_KIND_ENUM:
	case BTF_KIND_FUNC_PROTO:
		return 8 * (size_t)vlen;
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_DATASEC:
	case 19: // BTF_KIND_ENUM64, Linux 6.0
		return 12 * (size_t)vlen;
	default:
		return 0;
	}
}

static void note_member(
	struct search *s, const struct nested *in, const struct btf_member *m, uint32_t offset)
{
	const char *name = name_at(s, m->name_off);
	bool known = false;

	for (unsigned i = 0; name && i < s->nmembers; i++) {
		struct kernel_btf_member *want = &s->members[i];

		if (want->found || strcmp(want->type, in->type) || strcmp(want->name, name))
			continue;
		want->offset = offset;
		want->found = 1;
	}
	for (unsigned i = 0; i < s->nnested; i++)
		known = known || s->nested[i].id == m->type;
	if (!m->name_off && !known && s->nnested < NESTED_MAX)
		s->nested[s->nnested++] = (struct nested){m->type, offset, in->type};
}

static bool take_members(
	struct search *s, const struct btf_type *t, const struct nested *in, uint32_t *at)
{
	for (uint32_t i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		struct btf_member m;
		uint32_t bits;

		if (!take(s, &m, sizeof(m), at))
			return false;
		bits = BTF_INFO_KFLAG(t->info) ? BTF_MEMBER_BIT_OFFSET(m.offset) : m.offset;
		note_member(s, in, &m, in->base + bits / 8);
	}
	return true;
}

/* Is it one that was asked for, or inside of one? */
static bool is_wanted(
	const struct search *s, const struct btf_type *t, uint32_t id, struct nested *ret)
{
	const char *name = name_at(s, t->name_off);

	for (unsigned i = 0; name && i < s->nmembers; i++) {
		if (strcmp(s->members[i].type, name) != 0)
			continue;
		*ret = (struct nested){id, 0, s->members[i].type};
		return true;
	}
	for (unsigned i = 0; i < s->nnested; i++) {
		if (s->nested[i].id != id)
			continue;
		*ret = s->nested[i];
		return true;
	}
	return false;
}

static int pass_types(struct search *s)
{
	uint32_t at = 0, id = 0;

	if (seek(s, s->head.type_off))
		return -EBADMSG;
	while (at < s->head.type_len) {
		struct btf_type t;
		struct nested in;
		uint32_t kind;
		bool ok;

		if (!take(s, &t, sizeof(t), &at))
			return -EBADMSG;
		id++;
		kind = BTF_INFO_KIND(t.info);
		if ((kind == BTF_KIND_STRUCT || kind == BTF_KIND_UNION) &&
			is_wanted(s, &t, id, &in))
			ok = take_members(s, &t, &in, &at);
		else
			ok = skip(s, tail_bytes(kind, BTF_INFO_VLEN(t.info)), &at);
		if (!ok)
			return -EBADMSG;
	}
	return 0;
}

static bool all_found(const struct search *s)
{
	for (size_t i = 0; i < s->nmembers; i++)
		if (!s->members[i].found)
			return false;
	return true;
}

int kernel_btf_find(FILE *f, struct kernel_btf_member *members, size_t n)
{
	struct search s = {.f = f, .members = members, .nmembers = n};
	int r;

	if (n > KERNEL_BTF_MEMBERS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n; i++) {
		members[i].found = 0;
		want_name(&s, members[i].type);
		want_name(&s, members[i].name);
	}
	if (fread(&s.head, 1, sizeof(s.head), f) != sizeof(s.head) || s.head.magic != BTF_MAGIC ||
		s.head.type_len > BYTES_MAX || s.head.str_len > BYTES_MAX ||
		s.head.type_off > BYTES_MAX || s.head.str_off > BYTES_MAX ||
		s.head.hdr_len > BYTES_MAX)
		return -EBADMSG;
	r = find_names(&s);
	for (unsigned i = 0; !r && i < PASSES_MAX && !all_found(&s); i++)
		r = pass_types(&s);
	return r ? r : all_found(&s) ? 0 : -ENODATA;
}
