"""What a central system keeps and decides: csms.py puts the parts together.

ledger     charge points, id tags, transactions and meter values in SQLite
admission  who may connect: keys, certificates, rate limits
server     the WebSocket server: one connection per charge point
station    what a central system asks of a charge point: transactions and keys
features   the same for each feature profile of OCPP 1.6
securing   new credentials for the charge points that come
reports    what a charge point has reported, to be awaited
profiles   charging profiles to send, and composite schedules that make sense
id_tags    what is said of id tags
registry   who is connected
terminal   what a person can type: words, station_verbs
scenario   a user's own coroutine in place of the anomaly
rate_unit  amperes or watts
"""
