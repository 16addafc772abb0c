/* SPDX-License-Identifier: Apache-2.0 */
/* export/html_container.h -- the bytes of the page's profile, streamed in bounded memory.
 *
 * "GPF1", u32 version, u32 number of sections, then for each section {u32 id, u32 offset, u32 length}
 * (little endian, offsets from the first byte), then the sections in that order. A reader skips ids
 * it does not know. Numbers inside sections are LEB128 varints; signed ones are zigzag. Columns stand
 * one after the other, each complete.
 *   META  JSON, see html_meta()
 *   STR   count, then NUL-terminated UTF-8 (as found: a reader decodes with replacement), in byte
 *         order; string 0 is empty
 *   FUN   count; columns name (difference to the one before), module, file, build id, line, kind
 *   CTX   count; columns kind, name, container, appid, pid, tid, uid
 *   NODE  count, value types; columns item (function, or functions + context), children, flags, then
 *         a column of signed self values a value type; preorder, node 0 is the root (item 0)
 *   TIME  only of a profile with times: microseconds of a slot and from the profile's start to slot 0,
 *         slots, count; columns node (difference to the one before), slot (difference where the node
 *         is the one before, else absolute), samples of value 0. By node, then slot
 * All of it one gzip member. `ui/model.js` is the reader. */
#ifndef GP_EXPORT_HTML_CONTAINER_H
#define GP_EXPORT_HTML_CONTAINER_H

#include "base/compress.h"
#include "base/json.h"
#include "export/html_tree.h"

#define HTML_CONTAINER_VERSION 1

enum html_section {
	HTML_SECTION_META = 1,
	HTML_SECTION_STR,
	HTML_SECTION_FUN,
	HTML_SECTION_CTX,
	HTML_SECTION_NODE,
	HTML_SECTION_TIME,
};

/* Writes the container of t, uncompressed bytes through w. Return 0, -ENOMEM, -EFBIG (a section
 * over 4 GiB), or what the sink of w returned. */
int html_container_write(struct gzip_writer *w, const struct html_tree *t, const struct buf *meta);

#endif
