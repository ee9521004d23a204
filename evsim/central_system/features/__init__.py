"""What a central system asks of a charge point and hears from it, by OCPP's feature profiles.

Each verb is a method that gives the response or raises; evsim.central_system.station has them all.
"""
