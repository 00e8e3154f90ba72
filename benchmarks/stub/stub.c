/* A DynamoDB endpoint with canned replies, for Linux: one thread, epoll.
 *
 * usage: stub DIRECTORY LATENCY_MS ...
 *
 * DIRECTORY has a file for each operation: the file's name is the operation's, its content a whole
 * HTTP response. For each latency, the stub listens on a free port of the loopback interface. It
 * prints these ports on one line. It ends when its standard input is closed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 18, REPLIES = 32, LISTENERS = 8, EVENTS = 256 };
enum kind { INPUT, LISTENER, TIMER, CONNECTION };

struct reply {
    char operation[256];
    char *data;
    size_t length;
};

/* What epoll reports; the first member of everything that has a file descriptor. */
struct source {
    enum kind kind;
    int fd;
};

struct connection {
    struct source source;
    struct listener *listener;
    char *buffer;
    size_t received;
    const struct reply *reply; /* waiting or being sent */
    size_t sent;
    int waiting;
    int gone;
    long long due;
    struct connection *next;
};

struct listener {
    struct source source;
    struct source timer;
    long long latency_ns;
    struct connection *first, *last; /* waiting, in the order in which they are due */
};

static struct reply replies[REPLIES];
static int reply_count;
static int poll_fd;

static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n");
    exit(1);
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void control(int action, struct source *source, unsigned events) {
    struct epoll_event event = {.events = events, .data.ptr = source};
    if (epoll_ctl(poll_fd, action, source->fd, &event)) fail("epoll_ctl: %s", strerror(errno));
}

static void read_reply(const char *directory, const char *operation) {
    char path[4096];
    struct reply *reply = &replies[reply_count++];
    if (reply_count > REPLIES) fail("too many replies");
    snprintf(path, sizeof path, "%s/%s", directory, operation);
    snprintf(reply->operation, sizeof reply->operation, "%s", operation);
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot read %s", path);
    fseek(file, 0, SEEK_END);
    reply->length = ftell(file);
    rewind(file);
    reply->data = malloc(reply->length);
    if (fread(reply->data, 1, reply->length, file) != reply->length) fail("cannot read %s", path);
    fclose(file);
}

static void read_replies(const char *directory) {
    DIR *entries = opendir(directory);
    if (!entries) fail("cannot read %s", directory);
    for (struct dirent *entry; (entry = readdir(entries));)
        if (entry->d_name[0] != '.') read_reply(directory, entry->d_name);
    closedir(entries);
}

static const struct reply *find_reply(const char *head) {
    const char *target = strcasestr(head, "\nx-amz-target:");
    const char *operation = target ? strchr(target, '.') : NULL;
    size_t length = operation ? strcspn(++operation, "\r ") : 0;
    for (int i = 0; i < reply_count; i++)
        if (strlen(replies[i].operation) == length &&
            !memcmp(replies[i].operation, operation, length))
            return &replies[i];
    fail("no reply to: %s", head);
    return NULL;
}

/* Send the rest of the reply. A broken connection is shut down; epoll then reports its end. */
static void send_reply(struct connection *connection) {
    const struct reply *reply = connection->reply;
    while (connection->sent < reply->length) {
        ssize_t sent = send(connection->source.fd, reply->data + connection->sent,
                            reply->length - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            control(EPOLL_CTL_MOD, &connection->source, EPOLLIN | EPOLLOUT);
            return;
        }
        if (sent < 0) {
            shutdown(connection->source.fd, SHUT_RDWR);
            break;
        }
        connection->sent += sent;
    }
    connection->reply = NULL;
}

static void set_timer(struct listener *listener) {
    long long due = listener->first->due;
    struct itimerspec timer = {.it_value = {due / 1000000000LL, due % 1000000000LL}};
    timerfd_settime(listener->timer.fd, TFD_TIMER_ABSTIME, &timer, NULL);
}

static void wait_with_reply(struct connection *connection) {
    struct listener *listener = connection->listener;
    connection->due = now() + listener->latency_ns;
    connection->waiting = 1;
    connection->next = NULL;
    if (listener->first) {
        listener->last = listener->last->next = connection;
    } else {
        listener->first = listener->last = connection;
        set_timer(listener);
    }
}

/* Answer the request in the buffer if it is complete. A connection has one request at a time. */
static void handle_request(struct connection *connection) {
    connection->buffer[connection->received] = 0;
    char *end = connection->reply ? NULL : strstr(connection->buffer, "\r\n\r\n");
    if (!end) return;
    *end = 0;
    const char *header = strcasestr(connection->buffer, "\ncontent-length:");
    size_t length = end + 4 - connection->buffer + (header ? atoi(header + 16) : 0);
    if (connection->received < length) {
        *end = '\r';
        return;
    }
    connection->reply = find_reply(connection->buffer);
    connection->sent = 0;
    connection->received -= length;
    memmove(connection->buffer, connection->buffer + length, connection->received);
    if (connection->listener->latency_ns)
        wait_with_reply(connection);
    else
        send_reply(connection);
}

static void release(struct connection *connection) {
    free(connection->buffer);
    free(connection);
}

static void close_connection(struct connection *connection) {
    close(connection->source.fd);
    connection->gone = 1;
    if (!connection->waiting) release(connection);
}

static void send_what_is_due(struct source *timer) {
    struct listener *listener =
        (struct listener *)((char *)timer - offsetof(struct listener, timer));
    unsigned long long expirations;
    if (read(timer->fd, &expirations, sizeof expirations) < 0) return;
    long long time = now();
    while (listener->first && listener->first->due <= time) {
        struct connection *connection = listener->first;
        listener->first = connection->next;
        connection->waiting = 0;
        if (connection->gone)
            release(connection);
        else
            send_reply(connection);
    }
    if (listener->first) set_timer(listener);
}

static void accept_connections(struct listener *listener) {
    int fd, on = 1;
    while ((fd = accept4(listener->source.fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = calloc(1, sizeof *connection);
        connection->source = (struct source){CONNECTION, fd};
        connection->listener = listener;
        connection->buffer = malloc(BUFFER);
        control(EPOLL_CTL_ADD, &connection->source, EPOLLIN);
    }
}

static void serve(struct connection *connection, unsigned events) {
    if (events & EPOLLOUT) {
        control(EPOLL_CTL_MOD, &connection->source, EPOLLIN);
        if (connection->reply && !connection->waiting) send_reply(connection);
    }
    if (!(events & ~EPOLLOUT)) return;
    ssize_t received = recv(connection->source.fd, connection->buffer + connection->received,
                            BUFFER - 1 - connection->received, 0);
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0) {
        close_connection(connection);
        return;
    }
    connection->received += received;
    handle_request(connection);
}

static void listen_on_free_port(struct listener *listener, double latency_ms) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 4096) ||
        getsockname(fd, (struct sockaddr *)&address, &length))
        fail("cannot listen: %s", strerror(errno));
    listener->source = (struct source){LISTENER, fd};
    listener->timer = (struct source){TIMER, timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)};
    listener->latency_ns = latency_ms * 1e6;
    control(EPOLL_CTL_ADD, &listener->source, EPOLLIN);
    control(EPOLL_CTL_ADD, &listener->timer, EPOLLIN);
    printf("%d ", ntohs(address.sin_port));
}

int main(int count, char **arguments) {
    static struct listener listeners[LISTENERS];
    static struct source input = {INPUT, 0};
    struct epoll_event events[EVENTS];
    if (count < 3 || count - 2 > LISTENERS) fail("usage: stub DIRECTORY LATENCY_MS ...");
    read_replies(arguments[1]);
    poll_fd = epoll_create1(0);
    control(EPOLL_CTL_ADD, &input, EPOLLIN);
    for (int i = 2; i < count; i++) listen_on_free_port(&listeners[i - 2], atof(arguments[i]));
    printf("\n");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(poll_fd, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            struct source *source = events[i].data.ptr;
            char ignored[256];
            if (source->kind == LISTENER)
                accept_connections((struct listener *)source);
            else if (source->kind == TIMER)
                send_what_is_due(source);
            else if (source->kind == CONNECTION)
                serve((struct connection *)source, events[i].events);
            else if (read(0, ignored, sizeof ignored) <= 0)
                return 0;
        }
    }
}
