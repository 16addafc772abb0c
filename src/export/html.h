/* SPDX-License-Identifier: Apache-2.0 */
/* export/html.h -- inside of the page writer: what html.c and its tests share.
 *
 * A page is: the fixed head up to the title (CSP with the hashes of style and script), title, fixed
 * text up to the body, the static table of the hottest functions (what is read without script), the
 * container (gzip, base64) in an inert element, and the fixed tail with the script. The fixed parts
 * are made from ui/ at build time. Nothing of the profile is ever markup: text is escaped, the rest
 * is base64. One thread. */
#ifndef GP_EXPORT_HTML_H
#define GP_EXPORT_HTML_H

#include <stdio.h>

#include "base/buf.h"
#include "export/html_tree.h"

/* The fixed parts, generated (ui/bundle.py). */
extern const unsigned char ui_page_head[], ui_page_body[], ui_page_tail[];
extern const unsigned ui_page_head_len, ui_page_body_len, ui_page_tail_len;

#define HTML_STATIC_ROWS 30

/* The profiles a compared profile was merged of; value 0 is a's, value 1 is b's. */
struct html_compare {
	const struct profile *a, *b;
};

struct html_options {
	uint32_t budget; // nodes, 0 = HTML_NODE_BUDGET
	const struct html_compare *compare; // NULL: one profile
};

/* As export_html(), with options. */
int html_write(FILE *f, const struct profile *p, const struct html_options *options);

/* The META section: JSON of what the header of the page says. */
int html_meta(struct buf *out, const struct html_tree *t, const struct html_compare *compare);

/* Text as HTML text: & < > " ' escaped; C0 controls, DEL, U+2028/9 and bidi controls shown as
 * <U+XXXX> (escaped); invalid UTF-8 as U+FFFD. */
void html_text(FILE *f, const char *s);

#endif
