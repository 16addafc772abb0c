/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/curl_library.h -- libcurl, loaded at the first request.
 *
 * Linked, it and the thirty libraries it brings would cost every run of the program 2 MB resident and
 * some milliseconds, also those that never speak to a server. Any thread. */
#ifndef GP_DELIVERY_CURL_LIBRARY_H
#define GP_DELIVERY_CURL_LIBRARY_H

#include <curl/curl.h>

#define CURL_LIBRARY_NAME "libcurl.so.4" // the ABI since curl 7.16 (2006)

struct curl_library {
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *curl);
	CURLcode (*easy_setopt)(CURL *curl, CURLoption option, ...);
	CURLcode (*easy_perform)(CURL *curl);
	CURLcode (*easy_getinfo)(CURL *curl, CURLINFO info, ...);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
	void (*slist_free_all)(struct curl_slist *list);
};

/* The library, initialised; NULL if this machine has none (said once in the log). */
const struct curl_library *curl_library(void);

#endif
