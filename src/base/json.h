/* SPDX-License-Identifier: Apache-2.0 */
/* base/json.h -- jansson behind one wall.
 *
 * Small documents are built as jansson values (json_t, documented by jansson) and dumped in the
 * layout of Python's json.dumps, which the reference's consumers see; documents too large to hold
 * are streamed, with json_append_string() for each text. */
#ifndef GP_BASE_JSON_H
#define GP_BASE_JSON_H

#include <jansson.h>

#include "base/buf.h"

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ _cleanup_(cleanup_json)

/* Appends j as json.dumps does: ", " and ": " separators, ASCII only, order kept. */
int json_append(struct buf *out, const json_t *j);
/* Appends a quoted JSON string of any bytes: invalid UTF-8 becomes U+FFFD, non-ASCII is escaped. */
int json_append_string(struct buf *out, const char *s, size_t len);
/* A string value of any bytes, invalid UTF-8 replaced by U+FFFD; NULL gives JSON null. Return
 * NULL without memory. */
json_t *json_text(const char *s);

#endif
