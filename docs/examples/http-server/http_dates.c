/* http_dates.c - see http.h
 *
 * By itself: what C has for dates knows languages and time zones, and is not the same everywhere.
 *
 * SPDX-License-Identifier: MIT
 */
#include "http.h"

#include <stdio.h>
#include <string.h>

#define DAY_S 86400
#define YEARS_MAX 9999

static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct date {
    int year, month, day; /* month: from 0, day: from 1 */
    int hour, minute, second;
};

/* Days from 1970-01-01: years begin in March, so that what is uneven comes last. */
static int64_t days_of(int year, int month, int day) {
    int years = month < 2 ? year - 1 : year, months_on = (month + 10) % 12;
    int64_t leaps = years / 4 - years / 100 + years / 400;
    return (int64_t)years * 365 + leaps + (months_on * 153 + 2) / 5 + day - 1 - 719468;
}

size_t http_date(int64_t seconds, char date[HTTP_DATE_BYTES]) {
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970 began with a Thursday */
    if (seconds < 0 || seconds >= days_of(YEARS_MAX + 1, 0, 1) * DAY_S) seconds = 0;
    int64_t days = seconds / DAY_S;
    int rest = (int)(seconds % DAY_S), year = 1970 + (int)(days / 366), month = 0;
    while (days_of(year + 1, 0, 1) <= days) year++;
    while (month < 11 && days_of(year, month + 1, 1) <= days) month++;
    int wrote = snprintf(date, HTTP_DATE_BYTES, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
                         weekdays + days % 7 * 3, (int)(days - days_of(year, month, 1)) + 1,
                         months + month * 3, year, rest / 3600, rest / 60 % 60, rest % 60);
    return (size_t)wrote;
}

static bool month_find(const char *name, int *month) {
    for (*month = 0; *month < 12; ++*month) {
        if (strncmp(name, months + *month * 3, 3) == 0) return true;
    }
    return false;
}

/* In the form that is used today, or in one of the two old ones (RFC 9110, 5.6.7). */
static bool date_scan(const char *text, struct date *date) {
    char month[4] = "";
    int end = 0, *h = &date->hour, *m = &date->minute, *s = &date->second;
    if (sscanf(text, "%*9[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", &date->day, month,
               &date->year, h, m, s, &end) == 6 &&
        end > 0) {
        return text[end] == '\0' && month_find(month, &date->month);
    }
    if (sscanf(text, "%*9[A-Za-z], %2d-%3[A-Za-z]-%2d %2d:%2d:%2d GMT%n", &date->day, month,
               &date->year, h, m, s, &end) == 6 &&
        end > 0) {
        date->year += date->year < 69 ? 2000 : 1900;
        return text[end] == '\0' && month_find(month, &date->month);
    }
    return sscanf(text, "%*9[A-Za-z] %3[A-Za-z] %2d %2d:%2d:%2d %4d%n", month, &date->day, h, m, s,
                  &date->year, &end) == 6 &&
           end > 0 && text[end] == '\0' && month_find(month, &date->month);
}

static bool is_within(int number, int least, int most) {
    return number >= least && number <= most;
}

int64_t http_date_parse(const char *text) {
    struct date date;
    if (!date_scan(text, &date) || !is_within(date.year, 1, YEARS_MAX) ||
        !is_within(date.day, 1, 31) || !is_within(date.hour, 0, 23) ||
        !is_within(date.minute, 0, 59) || !is_within(date.second, 0, 60)) {
        return HTTP_NEVER;
    }
    return days_of(date.year, date.month, date.day) * DAY_S + date.hour * 3600 + date.minute * 60 +
           date.second;
}
