#include "localtime.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DAY = 86400, MIN_OFFSET = -720, MAX_OFFSET = 840 };

static int offset_minutes;

int localtime_offset(void)
{
    return offset_minutes;
}

void localtime_set_offset(int minutes)
{
    offset_minutes = minutes;
}

bool localtime_parse_offset(const char *text, int *minutes, struct error *err)
{
    if (strcasecmp(text, "utc") == 0 || strcmp(text, "Z") == 0) {
        *minutes = 0;
        return true;
    }
    const char *p = text + (*text == '+' || *text == '-'), *colon = strchr(p, ':');
    size_t digits = strspn(p, "0123456789");
    char *end;
    long value = strtol(p, &end, 10), hours = value, rest = 0;
    if (colon) {
        rest = strtol(colon + 1, &end, 10);
        if (colon != p + digits || !isdigit((unsigned char)colon[1]))
            digits = 0;
    } else if (digits > 2) {
        hours = value / 100;
        rest = value % 100;
    }
    long total = (hours * 60 + rest) * (*text == '-' ? -1 : 1);
    if (digits == 0 || digits > 4 || *end || rest > 59 || total < MIN_OFFSET || total > MAX_OFFSET)
        return fail(err, E_INVALID, "'%s' is not an offset from UTC (such as utc, +02:00 or -0330)", text);
    *minutes = (int)total;
    return true;
}

void localtime_offset_text(int minutes, char *text, size_t size)
{
    if (minutes == 0)
        snprintf(text, size, "utc");
    else
        snprintf(text, size, "%c%02d:%02d", minutes < 0 ? '-' : '+', abs(minutes) / 60, abs(minutes) % 60);
}

/* Years are counted from March, so that the leap day is a year's last. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    int64_t y = year - (month <= 2);
    int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (int64_t)(month > 2 ? month - 3 : month + 9) + 2) / 5 + (int64_t)day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

struct civil_time civil_from_seconds(int64_t seconds)
{
    int64_t days = seconds / DAY, rest = seconds % DAY;
    if (rest < 0) {
        rest += DAY;
        days--;
    }
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned shifted = (unsigned)((5 * of_year + 2) / 153);
    unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;
    return (struct civil_time){.year = year_of_era + era * 400 + (month <= 2),
                               .month = month,
                               .day = (unsigned)(of_year - (153 * (int64_t)shifted + 2) / 5 + 1),
                               .hour = (unsigned)(rest / 3600),
                               .minute = (unsigned)(rest / 60 % 60),
                               .second = (unsigned)(rest % 60)};
}

int64_t civil_to_seconds(const struct civil_time *t)
{
    return days_from_civil(t->year, t->month, t->day) * DAY + t->hour * 3600 + t->minute * 60 + t->second;
}
