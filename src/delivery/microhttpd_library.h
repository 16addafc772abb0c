/* SPDX-License-Identifier: Apache-2.0 */
/* delivery/microhttpd_library.h -- libmicrohttpd, loaded when something is to be served.
 *
 * Like libcurl (curl_library.h): linked, it and its TLS libraries would cost every run of the program,
 * also those that serve nothing. Any thread. */
#ifndef GP_DELIVERY_MICROHTTPD_LIBRARY_H
#define GP_DELIVERY_MICROHTTPD_LIBRARY_H

#include <microhttpd.h>

#define MICROHTTPD_LIBRARY_NAME "libmicrohttpd.so.12" // the ABI since 0.9.38 (2014)

struct microhttpd_library {
	struct MHD_Daemon *(*start_daemon)(unsigned flags, uint16_t port,
		MHD_AcceptPolicyCallback apc, void *apc_cls, MHD_AccessHandlerCallback dh,
		void *dh_cls, ...);
	void (*stop_daemon)(struct MHD_Daemon *daemon);
	const union MHD_DaemonInfo *(*get_daemon_info)(
		struct MHD_Daemon *daemon, enum MHD_DaemonInfoType type, ...);
	struct MHD_Response *(*create_response_from_buffer)(
		size_t size, void *buffer, enum MHD_ResponseMemoryMode mode);
	enum MHD_Result (*add_response_header)(
		struct MHD_Response *response, const char *header, const char *content);
	enum MHD_Result (*queue_response)(
		struct MHD_Connection *connection, unsigned status, struct MHD_Response *response);
	void (*destroy_response)(struct MHD_Response *response);
};

/* The library; NULL if this machine has none: *ret_why says what is wrong. */
const struct microhttpd_library *microhttpd_library(const char **ret_why);

#endif
