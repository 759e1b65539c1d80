// SPDX-License-Identifier: GPL-2.0-only
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "copy.h"

#define SHOW_MS 200

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void show(struct progress *p, int64_t now, const char *end)
{
	double s = (double)(now - p->start_ms) / 1000, rate = s > 0 ? (double)p->done / s : 0;
	char percent[16] = "", left[32] = "";

	if (p->total) {
		snprintf(percent, sizeof(percent), "%3u%% ", (unsigned int)(p->done >= p->total ? 100 : p->done * 100 / p->total));
		if (rate > 0 && p->done < p->total)
			snprintf(left, sizeof(left), ", %.0f s left", (double)(p->total - p->done) / rate);
	}
	fprintf(stderr, "%s%s: %s%.1f MiB, %.1f MiB/s%s%s", p->always && !isatty(STDERR_FILENO) ? "" : "\r", p->what,
		percent, (double)p->done / 1048576, rate / 1048576, left, end);
	p->on_line = *end != '\n';
	p->shown_ms = now;
}

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	p->what = what;
	p->total = total;
	p->done = 0;
	p->tenth = 0;
	p->on_line = false;
	p->start_ms = p->shown_ms = now_ms();
}

void progress_set(void *opaque, uint64_t done)
{
	struct progress *p = opaque;
	int64_t now = now_ms();

	p->done = done;
	if (p->quiet)
		return;
	if (isatty(STDERR_FILENO)) {
		if (now - p->shown_ms >= SHOW_MS)
			show(p, now, "\033[K");
	} else if (p->always && p->total && done < p->total && done * 10 / p->total > p->tenth) {
		p->tenth = (unsigned int)(done * 10 / p->total);
		show(p, now, "\n");
	}
}

void progress_add(struct progress *p, uint64_t bytes)
{
	progress_set(p, p->done + bytes);
}

void progress_end(struct progress *p, bool ok)
{
	if (ok && p->total < p->done)
		p->total = p->done;
	if (!p->quiet && (p->on_line || (ok && p->always)))
		show(p, now_ms(), isatty(STDERR_FILENO) ? "\033[K\n" : "\n");
}
