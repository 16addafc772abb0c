/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/command_queue.h"

#include <errno.h>
#include <string.h>

void command_queue_init(struct command_queue *q)
{
	*q = (struct command_queue){0};
}

static void pop(struct remote_command *list, unsigned *n, unsigned at)
{
	(*n)--;
	memmove(list + at, list + at + 1, (*n - at) * sizeof(*list));
}

static void turn_out(struct remote_command *c, command_queue_fn fn, void *arg, const char *why)
{
	if (fn)
		fn(arg, c, why);
	remote_command_deinit(c);
}

/* Every start that waits. */
static void clear_starts(struct command_queue *q, command_queue_fn fn, void *arg, const char *why)
{
	while (q->nonce) {
		struct remote_command c = q->once[0];

		pop(q->once, &q->nonce, 0);
		turn_out(&c, fn, arg, why);
	}
	if (q->has_continuous) {
		q->has_continuous = false;
		turn_out(&q->continuous, fn, arg, why);
	}
}

void command_queue_deinit(struct command_queue *q)
{
	clear_starts(q, NULL, NULL, "");
	while (q->nstops)
		remote_command_deinit(&q->stops[--q->nstops]);
}

static int push(struct remote_command *list, unsigned *n, unsigned max, struct remote_command *c)
{
	if (*n == max)
		return -ENOSPC;
	list[(*n)++] = *c;
	c->body = NULL;
	return 0;
}

int command_queue_put(
	struct command_queue *q, struct remote_command *c, command_queue_fn turned_out, void *arg)
{
	int r = 0;

	switch (c->kind) {
	case REMOTE_STOP:
		if (!remote_command_is_partial(c))
			clear_starts(q, turned_out, arg, "Stopped before it began");
		r = push(q->stops, &q->nstops, COMMAND_STOPS_MAX, c);
		break;
	case REMOTE_ONCE:
		r = push(q->once, &q->nonce, COMMAND_ONCE_MAX, c);
		break;
	case REMOTE_CONTINUOUS:
		if (q->has_continuous)
			turn_out(&q->continuous, turned_out, arg,
				"A newer command came before it began");
		q->continuous = *c;
		q->has_continuous = true;
		c->body = NULL;
		break;
	}
	if (r)
		turn_out(c, turned_out, arg, "Too many commands wait");
	return r;
}

static struct remote_command *head(const struct command_queue *q, enum remote_kind kind)
{
	struct command_queue *own = (struct command_queue *)(uintptr_t)q;

	switch (kind) {
	case REMOTE_STOP:
		return q->nstops ? &own->stops[0] : NULL;
	case REMOTE_ONCE:
		return q->nonce ? &own->once[0] : NULL;
	case REMOTE_CONTINUOUS:
		return q->has_continuous ? &own->continuous : NULL;
	}
	return NULL;
}

const struct remote_command *command_queue_peek(const struct command_queue *q, unsigned kinds)
{
	for (enum remote_kind k = REMOTE_STOP; k <= REMOTE_CONTINUOUS; k++)
		if (kinds & COMMAND_BIT(k) && head(q, k))
			return head(q, k);
	return NULL;
}

bool command_queue_take(struct command_queue *q, const char *id, struct remote_command *ret)
{
	for (enum remote_kind k = REMOTE_STOP; k <= REMOTE_CONTINUOUS; k++) {
		struct remote_command *c = head(q, k);

		if (!c || strcmp(c->id, id) != 0)
			continue;
		*ret = *c;
		if (k == REMOTE_STOP)
			pop(q->stops, &q->nstops, 0);
		else if (k == REMOTE_ONCE)
			pop(q->once, &q->nonce, 0);
		else
			q->has_continuous = false;
		return true;
	}
	return false;
}

void command_queue_leave_out(struct command_queue *q, const struct option_pids *pids,
	command_queue_fn turned_out, void *arg)
{
	static const char why[] = "Stopped before it began";
	unsigned i = 0;

	while (i < q->nonce) {
		struct remote_command c = q->once[i];

		if (!remote_command_leave_out(&q->once[i], pids)) {
			i++;
			continue;
		}
		pop(q->once, &q->nonce, i);
		turn_out(&c, turned_out, arg, why);
	}
	if (q->has_continuous && remote_command_leave_out(&q->continuous, pids)) {
		q->has_continuous = false;
		turn_out(&q->continuous, turned_out, arg, why);
	}
}

unsigned command_queue_len(const struct command_queue *q)
{
	return q->nstops + q->nonce + q->has_continuous;
}
