"""What a charge point keeps, decides and does; cp.py answers the messages of the Core profile.

assembly            the parts put together
availability        in and out of service
restarts            resets, power cuts, the end of the program
charging            from the cable and the id tag to the end of a transaction
cable               in or out, who plugged it in, whether the socket holds it
connector_status    a connector's status, from what is the matter with it
metering            when the meter is read: sampled, clock-aligned, for the stop
configuration       the keys, in one table, and their values; value_types: what they may be
authorization       who may charge, by local_list, authorization_cache and central system
reservations        who has which connector kept free, until when
hardware            how the simulated station is built
options, terminal   the command line of cp.py, and what can be typed there
charging_profiles   read a profile without trust
composite_schedule  profiles stacked: the limit now, its next change, how it goes on
profile_store       the profiles taken, in SQLite
maintenance         firmware, diagnostics, logs, certificates and security events, put together
firmware_update     downloads, installs, reboots; firmware_store: how far it has come
diagnostics         the diagnostics file, and the log lines of late
certificate_store   roots and own certificates, in SQLite; certificate_checks: which are good
security_events     the security log, in SQLite, and who is told
outbox              notifications that wait to be sent, in order, until each has arrived
features            the handlers of the feature profiles beyond Core
charger_control     what the charger is told, and whether it still speaks
connector           charger, meter and profiles of a connector, and the status that follows
credentials         how it proves itself; key and profile as the central system changes them
session             boot, heartbeats, statuses
transaction         the running one
meter               energy from the current heard; sampled values
ledger              transactions and their messages in SQLite, written before they are sent
delivery            sends the ledger's messages, in order, until each has arrived
"""
