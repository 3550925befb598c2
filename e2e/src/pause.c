/* Holds namespaces open: the first process of every sandbox, and of the node itself, where it also lets the kernel
 * reap the orphans that a killed shim leaves behind. */
#include <signal.h>
#include <unistd.h>

int main(void) {
  signal(SIGCHLD, SIG_IGN);
  for (;;) pause();
}
