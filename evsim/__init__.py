"""What two or more of the programs must agree on; each program's own decisions are in its script.

Programs and shells
    certificates    a program: a test CA, certificates and keys for the security profiles
    console         logging, colours, a quiet stop, one-line errors
    in_memory       a WebSocket and a CAN bus without sockets
    virtual_time    an event loop whose clock leaps over waits
The bus and the OCPP link
    bus             open_bus(), the loopback CAN bus, and a bus's place in an asyncio program
    bus_check       a round trip of every frame between two processes
    ocpp_link       the hardened OCPP-J endpoint that both ends build on
    network_faults  trouble on the OCPP link: late, twice, out of order, squeezed, lost
    ocpp_client     keeps a charge point connected
    ocpp_schemas    the message schemas, compiled once, and the error code for each kind of fault
    ocpp_wire       OCPP-J's JSON: read without trust, write
What the parts know
    central_system/ what a central system keeps and decides
    charge_point/   what a charge point keeps and decides
    car             the car's battery
    charger         the power module's physics: pure, step(dt_s)
    detectors/      one file per detector
Plain values
    frames          every CAN id, byte and unit <-> frozen dataclasses (charger.dbc says the same)
    can_timing      how long a frame occupies the bus
    clock, errors, rate_limit, security, sqlite, text
    installed       says how to install what is missing (standard library only)

Arrows of import point down; tests/test_architecture.py holds the table.
"""
