#include "shell.h"

#include <signal.h>

static volatile sig_atomic_t ending;

static void on_interrupt(int number)
{
    if (number != SIGINT)
        ending = 1;
    interrupt_request();
}

void signals_install(void)
{
    struct sigaction action = {.sa_handler = on_interrupt}; /* no SA_RESTART: waits must notice */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    action.sa_handler = SIG_IGN; /* a reader that goes away is seen by write() */
    sigaction(SIGPIPE, &action, NULL);
}

bool signals_ending(void)
{
    return ending != 0;
}
