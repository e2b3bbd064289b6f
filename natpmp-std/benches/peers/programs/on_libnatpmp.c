#include <natpmp.h>
#include <stdio.h>
#include <sys/select.h>

int main(void)
{
    natpmp_t natpmp;
    natpmpresp_t response;
    int result;
    if (initnatpmp(&natpmp, 0, 0) != 0)
        return 1;
    sendnewportmappingrequest(&natpmp, NATPMP_PROTOCOL_TCP, 8080, 0, 7200);
    do {
        fd_set sockets;
        struct timeval timeout;
        FD_ZERO(&sockets);
        FD_SET(natpmp.s, &sockets);
        getnatpmprequesttimeout(&natpmp, &timeout);
        select(natpmp.s + 1, &sockets, NULL, NULL, &timeout);
        result = readnatpmpresponseorretry(&natpmp, &response);
    } while (result == NATPMP_TRYAGAIN);
    if (result != 0)
        return 1;
    printf("%d\n", response.pnu.newportmapping.mappedpublicport);
    return 0;
}
