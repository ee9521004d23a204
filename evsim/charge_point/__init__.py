"""What a charge point keeps and decides, without sockets: cp.py puts the parts together.

charging_profiles   read a profile without trust
composite_schedule  profiles stacked: the limit now, its next change, how it goes on
profile_store       the profiles taken, in SQLite
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
