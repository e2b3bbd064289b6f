/* The jobs of the other clients, on libnatpmp, as its own natpmpc does them: cc -O2 -o libnatpmp libnatpmp.c -lnatpmp */
#include <arpa/inet.h>
#include <natpmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>

enum { PORT = 10000, LIFETIME = 7200 };

static int answer(natpmp_t *natpmp)
{
    natpmpresp_t response;
    int result;
    do {
        fd_set sockets;
        struct timeval timeout;
        FD_ZERO(&sockets);
        FD_SET(natpmp->s, &sockets);
        getnatpmprequesttimeout(natpmp, &timeout);
        select(natpmp->s + 1, &sockets, NULL, NULL, &timeout);
        result = readnatpmpresponseorretry(natpmp, &response);
    } while (result == NATPMP_TRYAGAIN);
    return result;
}

static int ask(natpmp_t *natpmp, int is_mapping)
{
    if (is_mapping)
        sendnewportmappingrequest(natpmp, NATPMP_PROTOCOL_UDP, PORT, 0, LIFETIME);
    else
        sendpublicaddressrequest(natpmp);
    return answer(natpmp);
}

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char **arguments)
{
    natpmp_t natpmp;
    long long begun = now();
    int result, is_first, asks;
    if (count < 3)
        return 2;
    is_first = strcmp(arguments[1], "first") == 0;
    if (initnatpmp(&natpmp, 1, inet_addr(arguments[2])) != 0)
        return 1;
    if (is_first) {
        result = ask(&natpmp, 1);
        if (result == 0)
            printf("%lld open\n", now() - begun);
        else
            printf("%lld error %d\n", now() - begun, result);
        return 0;
    }
    begun = now();
    for (asks = atoi(arguments[3]); asks > 0; asks--)
        if (ask(&natpmp, strcmp(arguments[1], "mappings") == 0) != 0)
            return 1;
    printf("%lld\n", now() - begun);
    return 0;
}
