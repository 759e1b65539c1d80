// SPDX-License-Identifier: GPL-2.0-only
/* units: vmm/emul.c vmm/emul_decode.c vmm/emul_walk.c vmm/emul_mem.c vmm/emul_alu.c vmm/emul_bits.c vmm/emul_mov.c vmm/emul_stack.c vmm/emul_task.c vmm/emul_string.c vmm/emul_sse.c tests/unit/emul_native.c tests/unit/emul_cases.c tests/unit/emul_modes.c tests/unit/emul_paging.c tests/unit/emul_tasks.c tests/unit/emul_guest.c */
#include <check.h>
#include <stdlib.h>
#include "emul_guest.h"
#include "emul_native.h"

int main(void)
{
	Suite *s = suite_create("emul");
	SRunner *r;
	int failed;

	suite_add_tcase(s, emul_mode_cases());
	suite_add_tcase(s, emul_paging_cases());
	suite_add_tcase(s, emul_task_cases());
	suite_add_tcase(s, emul_random_cases());
	suite_add_tcase(s, emul_native_cases());
	r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
