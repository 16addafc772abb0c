/* SPDX-License-Identifier: Apache-2.0 */
/* tests/agent/commands.h -- commands as a studio would send them, for tests of what becomes of them. */
#ifndef GP_TESTS_AGENT_COMMANDS_H
#define GP_TESTS_AGENT_COMMANDS_H

#include "tests/harness.h"

#include <stdarg.h>

#include "agent/remote_command.h"

/* The n-th id: a UUID, as the studio's are. */
static inline _unused_ const char *command_id(unsigned n, char ret[REMOTE_ID_MAX + 1])
{
	snprintf(ret, REMOTE_ID_MAX + 1, "%08x-1111-2222-3333-444444444444", n);
	return ret;
}

/* profiling_command from its text; it must be one that can be read. */
static inline _unused_ struct remote_command command_of(unsigned n, const char *text)
{
	_cleanup_json_ json_t *body = json_loads(text, 0, NULL);
	_cleanup_buf_ struct buf why = BUF_INIT(REMOTE_WHY_MAX);
	char id[REMOTE_ID_MAX + 1];
	struct remote_command c;

	assert_non_null(body);
	if (remote_command_read(&c, command_id(n, id), body, &why))
		fail_msg("%s: %s", text, buf_str(&why));
	return c;
}

#define CONTINUOUS_TEXT                                                                            \
	"{\"command_type\": \"start\", \"combined_config\": {\"continuous\": true, \"duration\": 60}}"
#define ONCE_TEXT "{\"command_type\": \"start\", \"combined_config\": {\"duration\": 5}}"
#define STOP_TEXT "{\"command_type\": \"stop\", \"combined_config\": {\"stop_level\": \"host\"}}"

#endif
