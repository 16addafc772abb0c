/* SPDX-License-Identifier: Apache-2.0 */
#include "process/image.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "process/memory.h"
#include "process/table.h"

#define VMAS_MAX 64
#define PHDRS_MAX 64
#define DYNAMIC_MAX 512
#define WRITABLE_MAX (4u << 20) // bytes of a writable mapping that are read: .dynamic is there
#define CHUNK (1u << 20)

struct vma {
	uint64_t start, end, pgoff;
	bool exec, write;
};

struct collect {
	uint64_t addr;
	struct maps_line file; // its maj, min and ino
	bool found;
	struct vma vmas[VMAS_MAX];
	size_t n;
};

static int find_file(void *arg, const struct maps_line *line)
{
	struct collect *c = arg;

	if (c->addr < line->start || c->addr >= line->end)
		return 0;
	if (maps_kind(line->path) != MAPPING_FILE)
		return -EMEDIUMTYPE;
	c->file = *line;
	c->found = true;
	return 1;
}

/* The mappings of one load of the file: from the last one of offset 0 at or below addr. */
static int collect_vma(void *arg, const struct maps_line *line)
{
	struct collect *c = arg;

	if (line->ino != c->file.ino || line->maj != c->file.maj || line->min != c->file.min)
		return 0;
	if (line->pgoff == 0) {
		if (line->start > c->addr)
			return 1;
		c->n = 0;
	}
	if (c->n == VMAS_MAX)
		return 1;
	if (!line->read)
		return 0;
	c->vmas[c->n++] = (struct vma){.start = line->start,
		.end = line->end,
		.pgoff = line->pgoff,
		.exec = line->exec,
		.write = line->write};
	return 0;
}

static int pass_over(const struct process_table *t, uint32_t pid, struct collect *c, maps_fn fn)
{
	_cleanup_close_ int fd = process_open_maps(t, pid);
	int r = fd < 0 ? fd : maps_read_fd(fd, fn, c);

	return r < 0 ? r : 0;
}

static int collect(const struct process_table *t, uint32_t pid, uint64_t addr, struct collect *c)
{
	int r;

	*c = (struct collect){.addr = addr};
	r = pass_over(t, pid, c, find_file);
	if (r)
		return r;
	if (!c->found)
		return -ENOENT;
	r = pass_over(t, pid, c, collect_vma);
	if (r)
		return r;
	return c->n && c->vmas[0].pgoff == 0 ? 0 : -ENOENT;
}

/* Copies one mapping; pages that cannot be read stay zero. */
static void read_vma(uint32_t pid, const struct vma *v, uint8_t *image, size_t *budget)
{
	uint64_t len = v->end - v->start;

	for (uint64_t at = 0; at < len && *budget; at += CHUNK) {
		size_t n = MIN(MIN(len - at, (uint64_t)CHUNK), *budget);

		if (process_memory_read_some(pid, v->start + at, image + v->pgoff + at, n) <= 0)
			return;
		*budget -= n;
	}
}

int process_image_read(const struct process_table *t, uint32_t pid, uint64_t addr,
	uint8_t **ret_image, size_t *ret_len)
{
	size_t budget = PROCESS_IMAGE_READ_MAX;
	_cleanup_free_ uint8_t *image = NULL;
	struct collect c;
	uint64_t size = 0;
	ssize_t len;
	int r = collect(t, pid, addr, &c);

	if (r)
		return r;
	for (size_t i = 0; i < c.n; i++) {
		uint64_t span = c.vmas[i].end - c.vmas[i].start;

		if (c.vmas[i].pgoff > PROCESS_IMAGE_MAX || span > PROCESS_IMAGE_MAX)
			return -EFBIG;
		size = MAX(size, c.vmas[i].pgoff + span);
	}
	if (size > PROCESS_IMAGE_MAX)
		return -EFBIG;
	// Untouched pages of a large calloc() cost nothing: holes stay holes.
	image = calloc(1, size + PROCESS_IMAGE_ROOM);
	if (!image)
		return -ENOMEM;
	// Tables and names first; code last, and first of all what the budget may cut.
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < c.n; i++) {
			const struct vma *v = &c.vmas[i];

			if (v->exec == (pass == 1) &&
				(!v->write || v->end - v->start <= WRITABLE_MAX))
				read_vma(pid, v, image, &budget);
		}
	len = process_image_add_sections(image, size, c.vmas[0].start);
	if (len < 0)
		return (int)len;
	*ret_image = steal_ptr(image);
	*ret_len = (size_t)len;
	return 0;
}

struct image {
	const uint8_t *bytes;
	size_t len;
	Elf64_Phdr phdrs[PHDRS_MAX];
	size_t nphdrs;
	uint64_t bias;
};

static bool read_at(const struct image *im, uint64_t off, void *dst, size_t n)
{
	struct cursor c = cursor_make(im->bytes, im->len);

	return off <= im->len && cursor_seek(&c, off) && cursor_copy(&c, dst, n);
}

static bool to_offset(const struct image *im, uint64_t vaddr, uint64_t *ret)
{
	for (size_t i = 0; i < im->nphdrs; i++) {
		const Elf64_Phdr *p = &im->phdrs[i];

		if (p->p_type == PT_LOAD && vaddr >= p->p_vaddr &&
			vaddr - p->p_vaddr < p->p_filesz) {
			*ret = p->p_offset + (vaddr - p->p_vaddr);
			return *ret < im->len;
		}
	}
	return false;
}

/* A pointer of the dynamic segment, which the dynamic linker may have relocated in place. */
static bool pointer_offset(const struct image *im, uint64_t value, uint64_t *ret)
{
	return (im->bias && value >= im->bias && to_offset(im, value - im->bias, ret)) ||
	       to_offset(im, value, ret);
}

/* Number of symbols as the GNU hash table implies: one past the end of the last chain. */
static uint64_t gnu_hash_count(const struct image *im, uint64_t off)
{
	uint32_t head[4], bucket, last = 0, chain;
	uint64_t buckets, chains;

	if (!read_at(im, off, head, sizeof(head)))
		return 0;
	buckets = off + sizeof(head) + 8ull * head[2];
	chains = buckets + 4ull * head[0];
	for (uint32_t i = 0; i < head[0]; i++) {
		if (!read_at(im, buckets + 4ull * i, &bucket, 4))
			return 0;
		last = MAX(last, bucket);
	}
	if (last < head[1])
		return head[1];
	do {
		if (!read_at(im, chains + 4ull * (last - head[1]), &chain, 4))
			return 0;
		last++;
	} while (!(chain & 1));
	return last;
}

struct dynamic {
	uint64_t symtab, strtab, strsz, count;
};

static void read_dynamic(const struct image *im, const Elf64_Phdr *ph, struct dynamic *ret)
{
	uint64_t off, hash = 0;
	Elf64_Dyn d;
	uint32_t head[2];

	for (unsigned i = 0; i < DYNAMIC_MAX; i++) {
		if (!read_at(im, ph->p_offset + i * sizeof(d), &d, sizeof(d)) || d.d_tag == DT_NULL)
			break;
		if (d.d_tag == DT_STRSZ)
			ret->strsz = d.d_un.d_val;
		if (!pointer_offset(im, d.d_un.d_ptr, &off))
			continue;
		if (d.d_tag == DT_SYMTAB)
			ret->symtab = off;
		else if (d.d_tag == DT_STRTAB)
			ret->strtab = off;
		else if (d.d_tag == DT_GNU_HASH)
			ret->count = gnu_hash_count(im, off);
		else if (d.d_tag == DT_HASH)
			hash = off;
	}
	if (!ret->count && hash && read_at(im, hash, head, sizeof(head)))
		ret->count = head[1];
}

static const char names[] = "\0.dynsym\0.dynstr\0.eh_frame_hdr\0.shstrtab";
enum { NAME_DYNSYM = 1, NAME_DYNSTR = 9, NAME_EH = 17, NAME_SHSTRTAB = 31 };

static int load_headers(struct image *im, Elf64_Ehdr *eh, uint64_t base)
{
	if (!read_at(im, 0, eh, sizeof(*eh)) || memcmp(eh->e_ident, ELFMAG, SELFMAG) != 0 ||
		eh->e_ident[EI_CLASS] != ELFCLASS64 || eh->e_ident[EI_DATA] != ELFDATA2LSB ||
		eh->e_phentsize != sizeof(Elf64_Phdr))
		return -EINVAL;
	for (unsigned i = 0; i < eh->e_phnum && i < PHDRS_MAX; i++) {
		Elf64_Phdr *p = &im->phdrs[im->nphdrs];

		if (!read_at(im, eh->e_phoff + i * sizeof(*p), p, sizeof(*p)))
			return -EINVAL;
		im->nphdrs++;
		if (p->p_type == PT_LOAD && p->p_offset == 0)
			im->bias = base - p->p_vaddr;
	}
	return im->nphdrs ? 0 : -EINVAL;
}

ssize_t process_image_add_sections(uint8_t *image, size_t len, uint64_t base)
{
	struct image im = {.bytes = image, .len = len};
	Elf64_Shdr sh[5] = {0};
	struct dynamic dyn = {0};
	Elf64_Ehdr eh;
	size_t n = 1;

	if (len % 8 || load_headers(&im, &eh, base))
		return -EINVAL;
	for (size_t i = 0; i < im.nphdrs; i++) {
		const Elf64_Phdr *p = &im.phdrs[i];

		if (p->p_type == PT_DYNAMIC)
			read_dynamic(&im, p, &dyn);
		if (p->p_type == PT_GNU_EH_FRAME && n == 1)
			sh[n++] = (Elf64_Shdr){.sh_name = NAME_EH,
				.sh_type = SHT_PROGBITS,
				.sh_flags = SHF_ALLOC,
				.sh_addr = p->p_vaddr,
				.sh_offset = p->p_offset,
				.sh_size = p->p_filesz};
	}
	if (dyn.symtab && dyn.strtab && dyn.count && dyn.strsz <= len - dyn.strtab &&
		dyn.count <= (len - dyn.symtab) / sizeof(Elf64_Sym)) {
		sh[n] = (Elf64_Shdr){.sh_name = NAME_DYNSYM,
			.sh_type = SHT_DYNSYM,
			.sh_flags = SHF_ALLOC,
			.sh_offset = dyn.symtab,
			.sh_size = dyn.count * sizeof(Elf64_Sym),
			.sh_link = (Elf64_Word)n + 1,
			.sh_info = 1,
			.sh_addralign = 8,
			.sh_entsize = sizeof(Elf64_Sym)};
		sh[n + 1] = (Elf64_Shdr){.sh_name = NAME_DYNSTR,
			.sh_type = SHT_STRTAB,
			.sh_flags = SHF_ALLOC,
			.sh_offset = dyn.strtab,
			.sh_size = dyn.strsz,
			.sh_addralign = 1};
		n += 2;
	}
	sh[n++] = (Elf64_Shdr){.sh_name = NAME_SHSTRTAB,
		.sh_type = SHT_STRTAB,
		.sh_offset = len,
		.sh_size = sizeof(names),
		.sh_addralign = 1};
	_Static_assert(sizeof(names) <= 64, "names fit before the headers");
	_Static_assert(64 + sizeof(sh) <= PROCESS_IMAGE_ROOM, "and the headers fit");
	memcpy(image + len, names, sizeof(names));
	memcpy(image + len + 64, sh, n * sizeof(sh[0]));
	eh.e_shoff = len + 64;
	eh.e_shnum = (Elf64_Half)n;
	eh.e_shentsize = sizeof(sh[0]);
	eh.e_shstrndx = (Elf64_Half)(n - 1);
	memcpy(image, &eh, sizeof(eh));
	return (ssize_t)(len + 64 + n * sizeof(sh[0]));
}
