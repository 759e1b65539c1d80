// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI fixed hardware (ACPI 6.4, 4.8): PM1a event and control blocks, the power
 * management timer and a GPE0 block, with the SCI on a level-triggered pin. The
 * reset register at 0xcf9 lies between the PCI ports and is in devices/pci.c.
 *
 * The machine is always in ACPI mode: SCI_EN reads as 1 and there is no SMI_CMD.
 * All state is under the machine lock.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "devices/device.h"
#include "vmm/board.h"

#define PM_TIMER_HZ	3579545ULL
#define NSEC		1000000000ULL

#define PM1_TMR		(1U << 0)	/* timer carry: bit 31 changed */
#define PM1_GBL		(1U << 5)
#define PM1_PWRBTN	(1U << 8)
#define PM1_SLPBTN	(1U << 9)
#define PM1_RTC		(1U << 10)
#define PM1_WAK		(1U << 15)	/* status only */
#define PM1_STS_BITS	(PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC | PM1_WAK)
#define PM1_EN_BITS	(PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC)
#define CNT_SCI_EN	(1U << 0)
#define CNT_BM_RLD	(1U << 1)
#define CNT_SLP_TYP(v)	(((v) >> 10) & 7)
#define CNT_SLP_TYP_BITS (7U << 10)
#define CNT_SLP_EN	(1U << 13)

#define GPE_BYTES	(BOARD_GPE0_LEN / 2)

struct acpi_pm {
	struct device dev;
	struct bus_region pio;
	struct loop_timer *carry;	/* next change of the timer's bit 31 */
	uint64_t start_ns;		/* when the timer was zero */
	uint64_t carries;		/* changes of bit 31 already shown in TMR_STS */
	uint16_t sts, en, cnt;
	uint8_t gpe_sts[GPE_BYTES], gpe_en[GPE_BYTES];
};

static const struct device_ops acpi_pm_ops;

static uint64_t timer_ticks(const struct acpi_pm *pm)
{
	return (uint64_t)((unsigned __int128)(clock_now_ns() - pm->start_ns) * PM_TIMER_HZ / NSEC);
}

static void update_timer_status(struct acpi_pm *pm)
{
	uint64_t carries = timer_ticks(pm) >> 31;

	if (carries != pm->carries) {
		pm->carries = carries;
		pm->sts |= PM1_TMR;
	}
}

static void update_sci(struct acpi_pm *pm)
{
	bool level = pm->sts & pm->en & PM1_EN_BITS;
	unsigned int i;

	for (i = 0; i < GPE_BYTES; i++)
		level |= pm->gpe_sts[i] & pm->gpe_en[i];
	irq_set(pm->dev.m, BOARD_SCI_IRQ, level);
}

static void arm_carry(struct acpi_pm *pm)
{
	unsigned __int128 next = (unsigned __int128)(pm->carries + 1) << 31;

	if ((pm->en & PM1_TMR) && !(pm->sts & PM1_TMR))
		loop_timer_set(pm->carry, pm->start_ns + (uint64_t)(next * NSEC / PM_TIMER_HZ) + 1);
	else
		loop_timer_set(pm->carry, 0);
}

static void pm_update(struct acpi_pm *pm)
{
	update_timer_status(pm);
	update_sci(pm);
	arm_carry(pm);
}

static void pm_carry(void *opaque)
{
	pm_update(opaque);
}

static void write_cnt(struct acpi_pm *pm, uint16_t val)
{
	pm->cnt = val & (CNT_BM_RLD | CNT_SLP_TYP_BITS);
	if (!(val & CNT_SLP_EN))
		return;
	if (CNT_SLP_TYP(val) == BOARD_SLP_TYP_S5)
		machine_event(pm->dev.m, EV_POWEROFF, 0);
	else
		log_guest("the guest asked for sleep type %u, which this machine has not",
			  CNT_SLP_TYP(val));
}

/* The block is read and written by bytes, so that any access width works. */
static uint8_t read_byte(struct acpi_pm *pm, unsigned int port, uint32_t timer)
{
	switch (port) {
	case BOARD_PM1A_EVT:
	case BOARD_PM1A_EVT + 1:
		return pm->sts >> 8 * (port - BOARD_PM1A_EVT);
	case BOARD_PM1A_EVT + 2:
	case BOARD_PM1A_EVT + 3:
		return pm->en >> 8 * (port - BOARD_PM1A_EVT - 2);
	case BOARD_PM1A_CNT:
		return pm->cnt | CNT_SCI_EN;
	case BOARD_PM1A_CNT + 1:
		return pm->cnt >> 8;
	}
	if (port >= BOARD_PM_TMR && port < BOARD_PM_TMR + 4)
		return timer >> 8 * (port - BOARD_PM_TMR);
	if (port >= BOARD_GPE0 && port < BOARD_GPE0 + GPE_BYTES)
		return pm->gpe_sts[port - BOARD_GPE0];
	if (port >= BOARD_GPE0 + GPE_BYTES && port < BOARD_GPE0 + BOARD_GPE0_LEN)
		return pm->gpe_en[port - BOARD_GPE0 - GPE_BYTES];
	return 0;
}

static void write_byte(struct acpi_pm *pm, unsigned int port, uint8_t val)
{
	unsigned int shift;

	switch (port) {
	case BOARD_PM1A_EVT:		/* status: write 1 to clear */
	case BOARD_PM1A_EVT + 1:
		pm->sts &= ~(val << 8 * (port - BOARD_PM1A_EVT));
		break;
	case BOARD_PM1A_EVT + 2:
	case BOARD_PM1A_EVT + 3:
		shift = 8 * (port - BOARD_PM1A_EVT - 2);
		pm->en = ((pm->en & ~(0xffU << shift)) | (unsigned int)val << shift) & PM1_EN_BITS;
		break;
	case BOARD_PM1A_CNT:
		pm->cnt = (pm->cnt & 0xff00) | (val & CNT_BM_RLD);
		break;
	case BOARD_PM1A_CNT + 1:
		write_cnt(pm, (pm->cnt & 0xff) | (unsigned int)val << 8);
		break;
	}
	if (port >= BOARD_GPE0 && port < BOARD_GPE0 + GPE_BYTES)
		pm->gpe_sts[port - BOARD_GPE0] &= ~val;
	if (port >= BOARD_GPE0 + GPE_BYTES && port < BOARD_GPE0 + BOARD_GPE0_LEN)
		pm->gpe_en[port - BOARD_GPE0 - GPE_BYTES] = val;
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned int size)
{
	struct acpi_pm *pm = opaque;
	uint32_t timer = timer_ticks(pm);
	uint64_t val = 0;
	unsigned int i;

	/* The timer is what guests read by the thousand: no more work than needed. */
	if (offset == BOARD_PM_TMR - BOARD_PM_BASE && size == 4)
		return timer;
	update_timer_status(pm);
	for (i = 0; i < size; i++)
		val |= (uint64_t)read_byte(pm, BOARD_PM_BASE + offset + i, timer) << 8 * i;
	return val;
}

static void pm_write(void *opaque, uint64_t offset, unsigned int size, uint64_t val)
{
	struct acpi_pm *pm = opaque;
	unsigned int i;

	update_timer_status(pm);
	for (i = 0; i < size; i++)
		write_byte(pm, BOARD_PM_BASE + offset + i, val >> 8 * i);
	pm_update(pm);
}

static const struct bus_ops pm_bus_ops = { .read = pm_read, .write = pm_write };

static struct acpi_pm *find(struct machine *m)
{
	struct device *d;

	for (d = m->devices; d; d = d->next)
		if (d->ops == &acpi_pm_ops)
			return (struct acpi_pm *)d;
	return NULL;
}

void acpi_pm_power_button(struct machine *m)
{
	struct acpi_pm *pm = find(m);

	if (!pm)
		return;
	pm->sts |= PM1_PWRBTN;
	update_sci(pm);
}

void acpi_pm_gpe(struct machine *m, unsigned int gpe)
{
	struct acpi_pm *pm = find(m);

	if (!pm || gpe >= 8 * GPE_BYTES)
		return;
	pm->gpe_sts[gpe / 8] |= 1U << gpe % 8;
	update_sci(pm);
}

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pm->sts = pm->en = pm->cnt = 0;
	memset(pm->gpe_sts, 0, sizeof(pm->gpe_sts));
	memset(pm->gpe_en, 0, sizeof(pm->gpe_en));
	pm->carries = timer_ticks(pm) >> 31;
	pm_update(pm);
}

static void acpi_pm_destroy(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	bus_remove(&dev->m->pio, &pm->pio);
	loop_del_timer(pm->carry);
	free(pm);
}

/* The timer goes on from where it stood. */
struct acpi_pm_state {
	uint64_t elapsed_ns, carries;
	uint16_t sts, en, cnt;
	uint8_t gpe_sts[GPE_BYTES], gpe_en[GPE_BYTES];
};

static const struct state_field acpi_pm_fields[] = {
	STATE_NUM(struct acpi_pm_state, elapsed_ns, 1, .max = INT64_MAX),
	STATE_NUM(struct acpi_pm_state, carries, 1),
	STATE_NUM(struct acpi_pm_state, sts, 1, .bits = PM1_STS_BITS),
	STATE_NUM(struct acpi_pm_state, en, 1, .bits = PM1_EN_BITS),
	STATE_NUM(struct acpi_pm_state, cnt, 1, .bits = CNT_BM_RLD | CNT_SLP_TYP_BITS),
	STATE_ARRAY(struct acpi_pm_state, gpe_sts, 1),
	STATE_ARRAY(struct acpi_pm_state, gpe_en, 1),
	STATE_END
};

static int acpi_pm_save(struct device *dev, void *state, struct state_error *err)
{
	const struct acpi_pm *pm = (struct acpi_pm *)dev;
	struct acpi_pm_state *s = state;

	s->elapsed_ns = clock_now_ns() - pm->start_ns;
	s->carries = pm->carries;
	s->sts = pm->sts;
	s->en = pm->en;
	s->cnt = pm->cnt;
	memcpy(s->gpe_sts, pm->gpe_sts, sizeof(s->gpe_sts));
	memcpy(s->gpe_en, pm->gpe_en, sizeof(s->gpe_en));
	return 0;
}

static int acpi_pm_load(struct device *dev, const void *state, unsigned int version,
			struct state_error *err)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;
	const struct acpi_pm_state *s = state;
	uint64_t start_ns = pm->start_ns;

	pm->start_ns = clock_now_ns() - s->elapsed_ns;
	if (s->carries > timer_ticks(pm) >> 31) {
		pm->start_ns = start_ns;
		return state_error(err, "carries %llu are more than the timer has made",
				   (unsigned long long)s->carries);
	}
	pm->carries = s->carries;
	pm->sts = s->sts;
	pm->en = s->en;
	pm->cnt = s->cnt;
	memcpy(pm->gpe_sts, s->gpe_sts, sizeof(pm->gpe_sts));
	memcpy(pm->gpe_en, s->gpe_en, sizeof(pm->gpe_en));
	arm_carry(pm);
	return 0;
}

static const struct state_desc acpi_pm_state_desc = {
	.version = 1, .size = sizeof(struct acpi_pm_state), .fields = acpi_pm_fields,
	.save = acpi_pm_save, .load = acpi_pm_load,
};

static const struct device_ops acpi_pm_ops = {
	.name = "acpi-pm",
	.xml = "<features><acpi/>",
	.help = "ACPI fixed hardware: power button, power-off (S5), 32-bit PM timer, GPE block, SCI on IRQ 9.",
	.reset = acpi_pm_reset,
	.destroy = acpi_pm_destroy,
	.state = &acpi_pm_state_desc,
};
DEVICE_REGISTER(acpi_pm_ops);

int acpi_pm_create(struct machine *m)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));
	int ret = -ENOMEM;

	if (!pm)
		return ret;
	pm->carry = loop_add_timer(m->loop, pm_carry, pm);
	if (!pm->carry)
		goto fail;
	pm->start_ns = clock_now_ns();
	pm->pio = (struct bus_region){
		.name = "acpi-pm", .base = BOARD_PM_BASE, .size = BOARD_PM_SIZE,
		.ops = &pm_bus_ops, .opaque = pm,
	};
	ret = bus_add(&m->pio, &pm->pio);
	if (ret)
		goto fail;
	device_init(&pm->dev, m, &acpi_pm_ops, "acpi-pm");
	acpi_pm_reset(&pm->dev);
	return 0;

fail:
	log_error("acpi-pm: cannot be made: %s", strerror(-ret));
	if (pm->carry)
		loop_del_timer(pm->carry);
	free(pm);
	return ret;
}
