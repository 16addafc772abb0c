/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/harness.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "elf/headers.h"
#include "elf/module.h"
#include "tests/elf/elf_writer.h"

static const uint8_t id_a[20] = {0xaa, 1, 2, 3};
static const uint8_t id_b[20] = {0xbb, 1, 2, 3};

static struct module_key key_of(uint64_t ino, const uint8_t *id)
{
	struct module_key k = {.dev = 0x801, .ino = ino};

	if (ino == 0)
		k.dev = 0;
	if (id) {
		k.build_id_len = 20;
		memcpy(k.build_id, id, 20);
	}
	return k;
}

static struct module *intern(struct module_table *t, struct module_key k, const char *path)
{
	struct module *m = NULL;

	assert_ok(module_table_intern(t, &k, path, &m));
	return m;
}

static void module__both_identities_lead_to_one(void **state)
{
	struct module_table t;
	struct module *m;

	(void)state;
	module_table_init(&t, 16, 4);
	m = intern(&t, key_of(7, id_a), "/bin/a");
	assert_int_equal(m->id, 1);
	assert_ptr_equal(intern(&t, key_of(7, NULL), NULL), m);
	assert_ptr_equal(intern(&t, key_of(0, id_a), NULL), m);
	assert_string_equal(module_path(&t, m), "/bin/a");
	assert_ptr_equal(module_get(&t, 1), m);
	assert_null(module_get(&t, 0));
	assert_null(module_get(&t, 2));
	module_table_deinit(&t);
}

static void module__a_later_key_joins(void **state)
{
	struct module_table t;
	struct module *m;

	(void)state;
	module_table_init(&t, 16, 4);
	m = intern(&t, key_of(7, NULL), "/bin/a");
	assert_ptr_equal(intern(&t, key_of(7, id_a), NULL), m);
	assert_ptr_equal(intern(&t, key_of(0, id_a), NULL), m);
	// A copy of the file elsewhere is the same module.
	assert_ptr_equal(intern(&t, key_of(8, id_a), "/bin/copy"), m);
	assert_ptr_equal(intern(&t, key_of(8, NULL), NULL), m);
	module_table_deinit(&t);
}

static void module__a_reused_inode_is_another(void **state)
{
	struct module_table t;
	struct module_key one = key_of(7, NULL), two = key_of(7, NULL);
	struct module *m;

	(void)state;
	module_table_init(&t, 16, 4);
	one.ino_generation = 1;
	two.ino_generation = 2;
	m = intern(&t, one, "/bin/a");
	assert_ptr_not_equal(intern(&t, two, "/bin/a"), m);
	assert_ptr_not_equal(intern(&t, key_of(7, id_a), NULL), intern(&t, key_of(7, id_b), NULL));
	module_table_deinit(&t);
}

static void module__path_alone(void **state)
{
	struct module_table t;
	struct module *vdso, *gone;

	(void)state;
	module_table_init(&t, 16, 4);
	vdso = intern(&t, key_of(0, NULL), "[vdso]");
	assert_true(vdso->special);
	assert_ptr_equal(intern(&t, key_of(0, NULL), "[vdso]"), vdso);
	gone = intern(&t, key_of(9, NULL), "/tmp/x (deleted)");
	assert_true(gone->deleted);
	assert_false(gone->special);
	assert_string_equal(module_path(&t, gone), "/tmp/x");
	module_table_deinit(&t);
}

static void module__cap_is_enospc(void **state)
{
	struct module_table t;
	struct module_key k = key_of(3, NULL);
	struct module *m;

	(void)state;
	module_table_init(&t, 2, 4);
	intern(&t, key_of(1, NULL), "/1");
	intern(&t, key_of(2, NULL), "/2");
	assert_int_equal(module_table_intern(&t, &k, "/3", &m), -ENOSPC);
	intern(&t, key_of(2, NULL), "/2");
	module_table_deinit(&t);
}

/* .text at 0x401000 (two functions), build id a, data, eh_frame_hdr. */
static void write_sample(struct elf_writer *w, const uint8_t *id)
{
	struct elf_writer_section hdr = {
		.name = ".eh_frame_hdr",
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC,
		.vaddr = 0x402000,
	};
	struct elf_writer_section data = {
		.name = ".data",
		.type = SHT_PROGBITS,
		.flags = SHF_ALLOC | SHF_WRITE,
		.vaddr = 0x404010,
	};
	unsigned text, eh, note, d;

	elf_writer_init(w, ET_EXEC);
	w->entry = 0x401010;
	text = elf_writer_code(w, ".text", 0x401000, 0x100);
	eh = elf_writer_section(w, &hdr, "\1\33\3;", 4);
	d = elf_writer_section(w, &data, "data", 4);
	note = id ? elf_writer_build_id(w, id, 20) : 0;
	elf_writer_segment(w, PT_LOAD, PF_R | PF_X, text, text);
	elf_writer_segment(w, PT_LOAD, PF_R, eh, eh);
	elf_writer_segment(w, PT_LOAD, PF_R | PF_W, d, d);
	elf_writer_segment(w, PT_GNU_EH_FRAME, PF_R, eh, eh);
	if (note)
		elf_writer_segment(w, PT_NOTE, PF_R, note, note);
}

static uint8_t *image_of(struct elf_writer *w, size_t *ret_len)
{
	struct buf out = BUF_INIT(1 << 20);

	elf_writer_finish(w, &out);
	*ret_len = out.len;
	return (uint8_t *)buf_steal(&out);
}

static void module__image_headers_and_sections(void **state)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module_section s;
	struct module_table t;
	struct module *m;
	uint64_t v, off;
	size_t len;
	uint8_t *image;

	(void)state;
	module_table_init(&t, 16, 4);
	write_sample(&w, id_a);
	image = image_of(&w, &len);
	m = intern(&t, key_of(0, NULL), "[vdso]");
	assert_ok(module_open_image(&t, m, image, len));
	assert_int_equal(m->state, MODULE_OPEN);
	assert_int_equal(m->machine, EM_X86_64);
	assert_int_equal(m->entry, 0x401010);
	assert_int_equal(m->nsegments, 3);
	assert_int_equal(m->eh_frame_hdr_vaddr, 0x402000);
	assert_int_equal(m->eh_frame_hdr_off, w.offset[2]);
	assert_memory_equal(m->key.build_id, id_a, 20);
	assert_ok(module_section(m, ".text", &s));
	assert_int_equal(s.size, 0x100);
	assert_int_equal(s.offset, w.offset[1]);
	assert_int_equal(module_section(m, ".nope", &s), -ENOENT);
	assert_true(module_offset_to_vaddr(m, w.offset[1] + 5, &v));
	assert_int_equal(v, 0x401005);
	assert_true(module_vaddr_to_offset(m, 0x404012, &off));
	assert_int_equal(off, w.offset[3] + 2);
	assert_false(module_vaddr_to_offset(m, 0x500000, &off));
	assert_false(module_offset_to_vaddr(m, 1 << 20, &v));
	module_table_deinit(&t);
}

static void put_file(char *path, const void *data, size_t len)
{
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static void module__file_must_be_the_module(void **state)
{
	char path[] = "/tmp/test_module_XXXXXX";
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module_table t;
	struct module *m;
	struct stat st;
	size_t len;
	uint8_t *image, byte[4];

	(void)state;
	module_table_init(&t, 16, 4);
	write_sample(&w, id_a);
	image = image_of(&w, &len);
	put_file(path, image, len);
	free(image);
	assert_ok(stat(path, &st));
	m = intern(&t, key_of(0, id_b), path);
	assert_int_equal(module_open_fd(&t, m, open(path, O_RDONLY)), -ESTALE);
	assert_int_equal(m->state, MODULE_NAMED);
	m = intern(&t, (struct module_key){.dev = st.st_dev, .ino = st.st_ino + 1}, path);
	assert_int_equal(module_open_fd(&t, m, open(path, O_RDONLY)), -ESTALE);
	m = intern(&t, (struct module_key){.dev = st.st_dev, .ino = st.st_ino}, path);
	assert_ok(module_open_fd(&t, m, open(path, O_RDONLY)));
	assert_int_equal(t.open_fds, 1);
	assert_memory_equal(m->key.build_id, id_a, 20);
	// The build id learned from the file is an identity from now on.
	assert_ptr_equal(intern(&t, key_of(0, id_a), NULL), m);
	assert_int_equal(module_read(m, 0, byte, 4), 4);
	assert_memory_equal(byte, "\177ELF", 4);
	assert_int_equal(module_read(m, m->size - 2, byte, 4), 2);
	assert_int_equal(module_read(m, m->size + 2, byte, 4), 0);
	unlink(path);
	module_table_deinit(&t);
}

static void module__not_regular_not_elf(void **state)
{
	char path[] = "/tmp/test_module_XXXXXX";
	struct module_table t;
	struct module *m;

	(void)state;
	module_table_init(&t, 16, 4);
	m = intern(&t, key_of(0, NULL), "/dev/null");
	assert_int_equal(module_open_fd(&t, m, open("/dev/null", O_RDONLY)), -EMEDIUMTYPE);
	assert_int_equal(m->state, MODULE_UNREADABLE);
	put_file(path, "#!/bin/sh\necho it is no ELF file, and long enough\n", 50);
	m = intern(&t, key_of(0, NULL), path);
	assert_int_equal(module_open_fd(&t, m, open(path, O_RDONLY)), -EINVAL);
	assert_int_equal(m->state, MODULE_UNREADABLE);
	assert_int_equal(m->error, -EINVAL);
	unlink(path);
	assert_int_equal(t.open_fds, 0);
	module_table_deinit(&t);
}

static void module__elf32_is_recognised(void **state)
{
	uint8_t *image = calloc(1, 64);
	struct module_table t;
	struct module *m;

	(void)state;
	memcpy(image, "\177ELF\1\1\1", 7);
	image[16] = ET_EXEC;
	image[18] = EM_386;
	module_table_init(&t, 16, 4);
	m = intern(&t, key_of(5, NULL), "/bin/old");
	assert_int_equal(module_open_image(&t, m, image, 64), -ENOEXEC);
	assert_int_equal(m->machine, EM_386);
	assert_int_equal(m->state, MODULE_UNREADABLE);
	module_table_deinit(&t);
}

static void module__descriptors_are_capped(void **state)
{
	struct module_table t;
	struct module *m[5];
	char path[5][32];

	(void)state;
	module_table_init(&t, 16, 3);
	for (unsigned i = 0; i < 5; i++) {
		_cleanup_(cleanup_elf_writer) struct elf_writer w;
		uint8_t id[20] = {1, (uint8_t)i};
		size_t len;
		uint8_t *image;

		write_sample(&w, id);
		image = image_of(&w, &len);
		snprintf(path[i], sizeof(path[i]), "/tmp/test_module_XXXXXX");
		put_file(path[i], image, len);
		free(image);
		m[i] = intern(&t, key_of(0, id), path[i]);
		m[i]->deleted = i == 0;
		assert_ok(module_open_fd(&t, m[i], open(path[i], O_RDONLY)));
		unlink(path[i]);
	}
	assert_int_equal(t.open_fds, 3);
	// A deleted file cannot be opened again, so it kept its descriptor.
	assert_int_equal(m[0]->state, MODULE_OPEN);
	assert_int_equal(m[4]->state, MODULE_OPEN);
	assert_int_equal(m[1]->state, MODULE_NAMED);
	assert_int_equal(m[1]->nsegments, 3);
	module_table_deinit(&t);
}

static void module__hostile_headers(void **state)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module_section s;
	struct module *m;
	Elf64_Phdr ph;
	uint8_t *image, *copy;
	size_t len;

	(void)state;
	write_sample(&w, id_a);
	image = image_of(&w, &len);
	// A segment whose end wraps around.
	copy = malloc(len);
	memcpy(copy, image, len);
	memcpy(&ph, copy + 64, sizeof(ph));
	ph.p_filesz = UINT64_MAX - 8;
	memcpy(copy + 64, &ph, sizeof(ph));
	assert_int_equal(module_standalone_image(copy, len, &m), -EINVAL);
	// Section headers outside the file.
	copy = malloc(len);
	memcpy(copy, image, len);
	((Elf64_Ehdr *)(void *)copy)->e_shoff = len + 100;
	assert_ok(module_standalone_image(copy, len, &m));
	assert_int_equal(module_section(m, ".text", &s), -EINVAL);
	module_standalone_free(m);
	// Cut inside the program headers.
	copy = malloc(100);
	memcpy(copy, image, 100);
	assert_int_equal(module_standalone_image(copy, 100, &m), -EINVAL);
	free(image);
}

static void module__escaped_section_count(void **state)
{
	_cleanup_(cleanup_elf_writer) struct elf_writer w;
	struct module_section s;
	struct module *m;
	Elf64_Ehdr *h;
	Elf64_Shdr *zero;
	uint8_t *image;
	size_t len;

	(void)state;
	write_sample(&w, id_a);
	image = image_of(&w, &len);
	h = (Elf64_Ehdr *)(void *)image;
	zero = (Elf64_Shdr *)(void *)(image + h->e_shoff);
	zero->sh_size = h->e_shnum;
	zero->sh_link = h->e_shstrndx;
	h->e_shnum = 0;
	h->e_shstrndx = SHN_XINDEX;
	assert_ok(module_standalone_image(image, len, &m));
	assert_ok(module_section(m, ".data", &s));
	assert_int_equal(s.vaddr, 0x404010);
	module_standalone_free(m);
}

#define HELD 10u

static bool held(void *arg, struct module *m)
{
	(void)arg;
	return m->id <= HELD;
}

/* Files come and go by the hundred, for a long time: what is held stays as it is, and there is room. */
static void module__what_nobody_holds_is_forgotten(void **state)
{
	struct module_table t;
	struct module *first[HELD + 1] = {NULL};
	size_t most = 0;
	uint32_t last = 0;
	char path[64];

	(void)state;
	module_table_init(&t, 256, 4);
	for (unsigned i = 1; i <= 20000; i++) {
		uint8_t id[20] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16), 1};
		struct module *m;

		snprintf(path, sizeof(path), "/tmp/lib%u.so%s", i, i % 3 ? "" : " (deleted)");
		m = intern(&t, key_of(1000 + i, i % 2 ? id : NULL), path);
		assert_true(m->id > last); // never used again
		last = m->id;
		if (i <= HELD)
			first[i] = m;
		most = MAX(most, t.by_id.len);
		module_table_sweep(&t, held, NULL);
	}
	assert_true(most <= 256);
	for (unsigned i = 1; i <= HELD; i++) {
		uint8_t id[20] = {(uint8_t)i, 0, 0, 1};

		snprintf(path, sizeof(path), "/tmp/lib%u.so", i);
		assert_ptr_equal(module_get(&t, i), first[i]);
		assert_string_equal(module_path(&t, first[i]), path);
		assert_ptr_equal(intern(&t, key_of(1000 + i, NULL), NULL), first[i]);
		if (i % 2)
			assert_ptr_equal(intern(&t, key_of(0, id), NULL), first[i]);
	}
	assert_null(module_get(&t, HELD + 1));
	module_table_deinit(&t);
}

/* A name is an identity too, and its own number changes when names move. */
static void module__names_outlive_a_sweep(void **state)
{
	struct module_table t;
	struct module *m;

	(void)state;
	module_table_init(&t, 256, 4);
	for (unsigned i = 1; i < HELD; i++)
		intern(&t, key_of(i, NULL), "/tmp/some");
	m = intern(&t, (struct module_key){0}, "[vdso]");
	for (unsigned i = 0; i < 1000; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/tmp/other%u", i);
		intern(&t, (struct module_key){0}, path);
		module_table_sweep(&t, held, NULL);
	}
	assert_ptr_equal(intern(&t, (struct module_key){0}, "[vdso]"), m);
	module_table_deinit(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(module__both_identities_lead_to_one),
		cmocka_unit_test(module__a_later_key_joins),
		cmocka_unit_test(module__a_reused_inode_is_another),
		cmocka_unit_test(module__path_alone),
		cmocka_unit_test(module__cap_is_enospc),
		cmocka_unit_test(module__image_headers_and_sections),
		cmocka_unit_test(module__file_must_be_the_module),
		cmocka_unit_test(module__not_regular_not_elf),
		cmocka_unit_test(module__elf32_is_recognised),
		cmocka_unit_test(module__descriptors_are_capped),
		cmocka_unit_test(module__hostile_headers),
		cmocka_unit_test(module__escaped_section_count),
		cmocka_unit_test(module__what_nobody_holds_is_forgotten),
		cmocka_unit_test(module__names_outlive_a_sweep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
