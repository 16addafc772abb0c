/* SPDX-License-Identifier: Apache-2.0 */
/* From the options of the studio's group to a delivery. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "delivery/delivery.h"

#define LOGGER "gprofiler.delivery"
#define NAME_MAX_BYTES ((size_t)1 << 20)

static bool is_set(const char *text)
{
	return text && text[0];
}

/* A token goes into a header: a line break would add headers of its own. */
static bool header_safe(const char *text)
{
	for (const unsigned char *s = (const unsigned char *)text; *s; s++)
		if (*s < 0x20 || *s == 0x7f)
			return false;
	return true;
}

static int check_service(const char *name, struct buf *service)
{
	if (studio_clean_service(name, service)) {
		log_error(LOGGER,
			"--service-name '%s' has no letter, digit, '.' or '-': choose another",
			name);
		return -EINVAL;
	}
	if (strcmp(name, buf_str(service)) != 0)
		log_warning(
			LOGGER, "The server knows service '%s' as '%s'", name, buf_str(service));
	return 0;
}

void delivery_texts_deinit(struct delivery_texts *texts)
{
	buf_deinit(&texts->service);
	buf_deinit(&texts->server);
}

int delivery_configure(struct delivery_config *config, const struct options *o,
	const char *hostname, struct delivery_texts *texts)
{
	*texts = (struct delivery_texts){0};
	if (!is_set(o->token) || !is_set(o->service_name) || !is_set(o->server_host)) {
		log_error(LOGGER, "Uploading needs --token, --service-name and --server-host");
		return -EINVAL;
	}
	if (!header_safe(o->token)) {
		log_error(LOGGER, "--token holds control characters (a line break at its end?)");
		return -EINVAL;
	}
	texts->service = BUF_INIT(NAME_MAX_BYTES);
	texts->server = BUF_INIT(NAME_MAX_BYTES);
	options_value_text(o, OPTION_server_host, &texts->server);
	if (check_service(o->service_name, &texts->service))
		return -EINVAL;
	if (is_set(o->tls_client_cert) != is_set(o->tls_client_key))
		log_warning(LOGGER, "--tls-client-cert and --tls-client-key only work together: "
				    "the one given is ignored");
	*config = (struct delivery_config){
		.studio =
			{
				.http =
					{
						.verify = o->verify,
						.ca_bundle = o->tls_ca_bundle,
						.client_cert = is_set(o->tls_client_cert)
								       ? o->tls_client_cert
								       : NULL,
						.client_key = is_set(o->tls_client_key)
								      ? o->tls_client_key
								      : NULL,
						.refresh_s =
							o->tls_refresh
								? (unsigned)o->tls_refresh_interval
								: 0,
						.curlify = o->curlify_requests,
					},
				.server = o->server_host,
				.token = o->token,
				.service = buf_str(&texts->service),
				.hostname = hostname,
				.upload_timeout_s = (unsigned)o->server_upload_timeout,
			},
		.shown_server = buf_str(&texts->server),
		.v1 = o->profile_api_version == OPTION_PROFILE_API_V1,
		.spool_dir = o->spool_dir,
		.spool_bytes = o->spool_size,
		.spool_age_s = o->spool_age,
	};
	// The reference's default address is no longer anybody's we know: a token goes there only
	// when somebody says so.
	config->send_logs = o->log_to_server && !config->v1 &&
			    options_given(o, OPTION_api_server) && is_set(o->api_server);
	config->logs = (struct server_log_config){
		.http = config->studio.http,
		.server = o->api_server,
		.token = o->token,
		.service = config->studio.service,
		.hostname = hostname,
	};
	return 0;
}
