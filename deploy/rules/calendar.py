"""New York's clock from UTC: summer time, trading hours, the weekly login.

Prometheus knows only UTC, and New York changes its clocks from the second Sunday of March to the first of November.
The change itself happens on a Sunday at 02:00, when nothing is traded, so the day alone decides.
"""

from deploy.rules.recording import Recording

CALENDAR: tuple[Recording, ...] = (
    Recording(
        "ibkr:new_york_summer_time",
        "1 while New York has summer time: from the second Sunday of March to the first Sunday of November",
        "((month() > bool 3) * (month() < bool 11))\n"
        "  + (month() == bool 3) * ((day_of_month() - day_of_week()) >= bool 8)\n"
        "  + (month() == bool 11) * ((day_of_month() - day_of_week()) < bool 1)",
    ),
    Recording(
        "ibkr:new_york_time:seconds",
        "New York's wall clock as if it were UTC, for hour() and day_of_week()",
        "time() - 18000 + 3600 * ibkr:new_york_summer_time",
    ),
    Recording(
        "ibkr:trading_hours",
        "1 from 09:30 to 16:00 in New York, Monday to Friday; exchange holidays are not known here and count too",
        "(day_of_week(ibkr:new_york_time:seconds) > bool 0)\n"
        "  * (day_of_week(ibkr:new_york_time:seconds) < bool 6)\n"
        "  * (ibkr:new_york_time:seconds % 86400 >= bool 34200)\n"
        "  * (ibkr:new_york_time:seconds % 86400 < bool 57600)",
    ),
    Recording(
        "ibkr:weekly_login_due",
        "1 from Saturday noon to Sunday 01:00 in New York, before IBKR ends all logins",
        "(day_of_week(ibkr:new_york_time:seconds) == bool 6)\n"
        "  * (hour(ibkr:new_york_time:seconds) >= bool 12)\n"
        "  + (day_of_week(ibkr:new_york_time:seconds) == bool 0)\n"
        "  * (hour(ibkr:new_york_time:seconds) < bool 1)",
    ),
)
