/* TestU01's batteries on 32-bit words from the standard input: `testu01 small|crush NAME`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <testu01/bbattery.h>
#include <testu01/unif01.h>

enum { WORDS = 1 << 16 };
static unsigned int buffer[WORDS];
static size_t held, next;

static unsigned int word(void) {
    if (next == held) {
        held = fread(buffer, sizeof buffer[0], WORDS, stdin);
        next = 0;
        if (held == 0) {
            fputs("testu01: the words have come to an end\n", stderr);
            exit(1);
        }
    }
    return buffer[next++];
}

int main(int argc, char **argv) {
    if (argc != 3 || (strcmp(argv[1], "small") && strcmp(argv[1], "crush"))) {
        fputs("usage: testu01 small|crush NAME < WORDS\n", stderr);
        return 2;
    }
    unif01_Gen *generator = unif01_CreateExternGenBits(argv[2], word);
    if (strcmp(argv[1], "small") == 0)
        bbattery_SmallCrush(generator);
    else
        bbattery_Crush(generator);
    unif01_DeleteExternGenBits(generator);
    return 0;
}
