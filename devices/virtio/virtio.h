/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A virtio 1.2 device behind the PCI transport, as its own file sees it: a type,
 * feature bits, a configuration space and queues. virtio_pci.c does the rest.
 *
 * Life of a device, as the driver drives it through device_status:
 *
 *   0 -> ACKNOWLEDGE -> DRIVER -> (features chosen) FEATURES_OK
 *     -> (queues laid out and enabled) DRIVER_OK: ops->start, queues run
 *     -> anything wrong with a ring: NEEDS_RESET
 *     -> 0: queues stop, I/O in flight is finished, ops->stop, all forgotten
 *
 * Where code runs. Registers: on a vCPU thread under the machine lock; so do
 * start, stop, config_*, reset. A queue's handler and queue_stop: on the queue's
 * iothread, or, where it has none, on the main loop under the machine lock.
 */
#ifndef HVX_VIRTIO_VIRTIO_H
#define HVX_VIRTIO_VIRTIO_H

#include "devices/pci.h"
#include "devices/virtio/iothread.h"
#include "devices/virtio/virtqueue.h"

#define VIRTIO_MAX_QUEUES 128

struct virtio_device;
struct virtio_queue;

/* --- saved state (vmm/state.h), at the head of each device's --- */
#define VIRTIO_MAX_CONFIG 256

struct virtio_queue_state {
	uint8_t enabled, mapped;
	uint16_t size, vector, last_avail;
	uint64_t desc, avail, used;
};

struct virtio_state {
	uint64_t features;
	uint8_t status, isr, generation, started;
	uint16_t config_vector, queue_select;
	uint32_t feature_select, driver_select;
	uint32_t nr_queues, config_len;
	struct virtio_queue_state queue[VIRTIO_MAX_QUEUES];
	uint8_t config[VIRTIO_MAX_CONFIG];
	struct pci_state pci;
};
extern const struct state_field virtio_state_fields[];

struct virtio_ops {
	/* The driver has written len bytes at off of config[] where config_wmask lets it. */
	void (*config_written)(struct virtio_device *v, unsigned int off, unsigned int len);
	/* config[] is about to be read. */
	void (*config_read)(struct virtio_device *v);
	/* DRIVER_OK: features are settled, the enabled queues' rings are mapped, none runs yet. */
	int (*start)(struct virtio_device *v);
	/* No queue runs any more; the device forgets what the driver told it. */
	void (*stop)(struct virtio_device *v);
	/*
	 * Saved state of a started device was loaded: as start, but nothing runs before
	 * resume. NULL: nothing to do.
	 */
	void (*loaded)(struct virtio_device *v);
	/*
	 * The saved configuration space (config_len bytes) against config[], which is as
	 * the XML has it: take over what may differ, refuse what may not. NULL: what
	 * the driver can write is taken, the rest must be equal.
	 */
	int (*load_config)(struct virtio_device *v, const uint8_t *saved, struct state_error *err);
	/* The driver kicked; also called once when the queue starts or resumes. */
	void (*handle)(struct virtio_queue *q);
	/*
	 * Queues are about to be stopped, for a reset or else, and their threads waited for: none may wait for
	 * long from now on. on false: they stand still, or this is over. Machine lock. NULL: none ever does.
	 */
	void (*hurry)(struct virtio_device *v, bool on, bool reset);
	/* Finish or cancel what is in flight: no guest memory is touched after it returns. */
	void (*queue_stop)(struct virtio_queue *q);
	/* The same for a reset, which need not finish anything and must not wait for long. NULL: queue_stop. */
	void (*queue_drop)(struct virtio_queue *q);
	/* Guest-owned queues (vhost): pause() and resume() instead of the queues' own. */
	void (*pause)(struct virtio_device *v);
	void (*resume)(struct virtio_device *v);
	/* A queue's or (q NULL) every message changed: for irqfds. */
	void (*vector_changed)(struct virtio_device *v, struct virtio_queue *q);
};

struct virtio_queue {
	struct virtio_device *v;
	uint16_t index;
	struct virtqueue vq;
	struct iothread *io;		/* NULL: main loop */
	int kick_fd;			/* eventfd that the driver's notification signals */
	struct loop_fd *watch;
	bool running;			/* on the queue's own thread only */
	unsigned int budget;		/* chains that this call of the handler may still take */
	bool external;			/* someone else (vhost) owns the kicks */

	/* registers, machine lock */
	uint16_t max_size, size;
	bool enabled;
	bool mapped;			/* rings are mapped: between start and stop */
	uint64_t desc, avail, used;
	uint16_t vector;		/* atomic: read by I/O threads */
	uint64_t ioeventfd_addr;	/* 0: not registered */
};

struct virtio_device {
	struct device dev;
	struct pci_func pci;
	const struct virtio_ops *ops;
	uint16_t type;
	uint64_t offered;		/* features, the transport's own included */
	uint64_t features;		/* accepted; settled at FEATURES_OK */
	bool no_ring_reset;		/* queues cannot be reset one by one (vhost) */

	uint8_t *config;		/* config_len bytes, little-endian; under config_lock */
	uint8_t *config_wmask;		/* NULL: read only */
	unsigned int config_len;
	pthread_mutex_t config_lock;
	uint8_t generation;		/* atomic */

	unsigned int nr_queues;
	struct virtio_queue *queue;

	/* transport registers */
	uint8_t status;			/* atomic: NEEDS_RESET comes from any thread */
	uint8_t isr;			/* atomic; only without MSI-X */
	uint16_t config_vector;		/* atomic */
	uint32_t feature_select, driver_select;
	uint16_t queue_select;
	bool started, paused;
	unsigned int cfg_cap;		/* the PCI configuration access capability */
};

/*
 * Make v (zeroed, v->dev not linked yet) a device on the bus. queue_sizes: nr
 * maximum ring sizes. Queues start with io NULL; set q->io before
 * virtio_add_kicks(). 0 or -errno after a message.
 */
int virtio_init(struct virtio_device *v, struct machine *m, const struct device_ops *dev_ops,
		const struct virtio_ops *ops, uint16_t type, uint64_t features,
		unsigned int config_len, unsigned int nr_queues, const uint16_t *queue_sizes,
		const char *id);
/* Watch the kick eventfds on the queues' threads; then the device is complete. */
int virtio_add_kicks(struct virtio_device *v);
/* Let someone else own the queue's kicks, or have them here again. Queue not running; machine lock. */
int virtio_set_external(struct virtio_queue *q, bool external);
/* Partner of virtio_init(). Queues are stopped; the caller ends its iothreads BEFORE this call. */
void virtio_fini(struct virtio_device *v);

/* device_ops of every virtio device. */
void virtio_reset(struct device *dev);
void virtio_pause(struct device *dev);
void virtio_resume(struct device *dev);
/* Save and load of the transport; state begins with a struct virtio_state. */
int virtio_save(struct device *dev, void *state, struct state_error *err);
int virtio_load(struct device *dev, const void *state, unsigned int version, struct state_error *err);
/* For devices that have nothing else to save. */
extern const struct state_desc virtio_state_desc;
extern const struct state_field virtio_only_fields[];

static inline bool virtio_has(const struct virtio_device *v, unsigned int bit)
{
	return v->features >> bit & 1;
}

/* Interrupt the driver for a queue. Any thread. */
void virtio_notify(struct virtio_queue *q);
/* vq_publish() and the interrupt that it may ask for. On the queue's thread. */
void virtio_publish(struct virtio_queue *q);
/* config[] has changed (under config_lock): new generation and an interrupt. Any thread. */
void virtio_config_changed(struct virtio_device *v);
/* The driver broke the rules: NEEDS_RESET. Any thread. */
void virtio_broken(struct virtio_queue *q, const char *why);
/*
 * Pop in a handler: true with a chain; false when there is none, with kicks
 * on again, or when the queue is broken, which has been reported. Also false once
 * a ring's worth has been taken: the queue is then kicked again, so that a driver
 * that refills without end does not hold the thread.
 */
bool virtio_pop(struct virtio_queue *q, struct vq_chain *c);

#endif
