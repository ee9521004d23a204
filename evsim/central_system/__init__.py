"""What a central system keeps and decides: csms.py puts the parts together.

ledger     charge points, id tags, transactions and meter values in SQLite
admission  who may connect: keys, certificates, rate limits
server     the WebSocket server: one connection per charge point
station    what a central system asks of a charge point
"""
