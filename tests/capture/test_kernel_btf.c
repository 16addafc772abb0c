/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets of members: in type information made here, and in the running kernel's against libbpf. */
#include "tests/harness.h"

#include <bpf/btf.h>
#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "capture/kernel_btf.h"

/* struct outer { int a; struct { int b; union { int c; long d; }; }; int e; } behind other kinds of types; the nameless
 * ones before the one they are in, or after it. */
static struct btf *make(bool before)
{
	struct btf *b = btf__new_empty();
	int i = btf__add_int(b, "int", 4, BTF_INT_SIGNED), l = btf__add_int(b, "long", 8, 0);
	int first = before ? l + 4 : l + 5;

	assert_int_equal(l, 2);
	assert_true(btf__add_ptr(b, i) > 0);
	assert_true(btf__add_enum(b, "kinds", 4) > 0);
	assert_ok(btf__add_enum_value(b, "outer_kind", 1));
	assert_true(btf__add_array(b, i, i, 9) > 0);
	for (int k = 0; k < 3; k++) {
		int what = (k + (before ? 1 : 0)) % 3;

		if (what == 1) {
			assert_true(btf__add_struct(b, NULL, 16) > 0);
			assert_ok(btf__add_field(b, "b", i, 0, 0));
			assert_ok(btf__add_field(b, NULL, first + 1, 64, 0));
		} else if (what == 2) {
			assert_true(btf__add_union(b, NULL, 8) > 0);
			assert_ok(btf__add_field(b, "c", i, 0, 0));
			assert_ok(btf__add_field(b, "d", l, 0, 0));
		} else {
			assert_true(btf__add_struct(b, "outer", 40) > 0);
			assert_ok(btf__add_field(b, "a", i, 0, 0));
			assert_ok(btf__add_field(b, NULL, first, 64, 0));
			assert_ok(btf__add_field(b, "e", i, 256, 0));
		}
	}
	assert_true(btf__add_struct(b, "other", 8) > 0);
	assert_ok(btf__add_field(b, "e", i, 32, 0));
	return b;
}

static int find(const void *data, size_t len, struct kernel_btf_member *m, size_t n)
{
	_cleanup_fclose_ FILE *f = fmemopen((void *)data, len, "r");

	assert_non_null(f);
	return kernel_btf_find(f, m, n);
}

static void kernel_btf__members_of_nameless_structs(void **state)
{
	(void)state;
	for (int before = 0; before < 2; before++) {
		struct kernel_btf_member m[] = {{"outer", "a"}, {"outer", "b"}, {"outer", "c"},
			{"outer", "d"}, {"outer", "e"}, {"other", "e"}};
		static const uint32_t right[] = {0, 8, 16, 16, 32, 4};
		struct kernel_btf_member none = {"outer", "int"};
		struct btf *b = make(before);
		uint32_t len;
		const void *data = btf__raw_data(b, &len);

		assert_ok(find(data, len, m, ARRAY_SIZE(m)));
		for (size_t i = 0; i < ARRAY_SIZE(m); i++)
			assert_int_equal(m[i].offset, right[i]);
		assert_int_equal(find(data, len, &none, 1), -ENODATA);
		none.name = "nowhere";
		assert_int_equal(find(data, len, &none, 1), -ENODATA);
		for (uint32_t cut = 1; cut < len; cut++) {
			int r = find(data, cut, m, ARRAY_SIZE(m));

			assert_true(r == -EBADMSG || r == -ENODATA);
		}
		btf__free(b);
	}
}

/* Through nameless structs, as libbpf has it. */
static bool offset_of(
	const struct btf *b, const struct btf_type *t, const char *name, uint32_t *ret)
{
	for (unsigned i = 0; i < btf_vlen(t); i++) {
		const struct btf_member *m = btf_members(t) + i;
		uint32_t at = btf_member_bit_offset(t, i) / 8, inner;

		if (!strcmp(btf__name_by_offset(b, m->name_off), name)) {
			*ret = at;
			return true;
		}
		if (!m->name_off && btf_is_composite(btf__type_by_id(b, m->type)) &&
			offset_of(b, btf__type_by_id(b, m->type), name, &inner)) {
			*ret = at + inner;
			return true;
		}
	}
	return false;
}

static void kernel_btf__the_running_kernel(void **state)
{
	struct kernel_btf_member m[] = {{"task_struct", "flags"}, {"task_struct", "mm"},
		{"task_struct", "thread"}, {"thread_struct", "fsbase"},
		{"mm_struct", "start_stack"}, {"file", "f_flags"}, {"list_head", "prev"}};
	struct btf *b;
	FILE *f;

	(void)state;
	f = fopen(KERNEL_BTF, "re");
	if (!f)
		test_skip("%s: %s", KERNEL_BTF, strerror(errno));
	assert_ok(kernel_btf_find(f, m, ARRAY_SIZE(m)));
	fclose(f);
	b = btf__load_vmlinux_btf();
	assert_non_null(b);
	for (size_t i = 0; i < ARRAY_SIZE(m); i++) {
		int id = btf__find_by_name_kind(b, m[i].type, BTF_KIND_STRUCT);
		uint32_t right = 0;

		assert_true(id > 0 &&
			    offset_of(b, btf__type_by_id(b, (uint32_t)id), m[i].name, &right));
		assert_int_equal(m[i].offset, right);
	}
	btf__free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernel_btf__members_of_nameless_structs),
		cmocka_unit_test(kernel_btf__the_running_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
