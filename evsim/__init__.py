"""What two or more of the programs must agree on; each program's own decisions are in its script.

Programs and shells
    certificates    a program: a test CA, certificates and keys for the security profiles
    console         logging, colours, a quiet stop, one-line errors
    lab/            what a run of simulate.py is made of, and which runs make a data set
    live/           the catalogue on the wall clock, for the programs that play it
    logs/           logs that other people's tools have written, and one that is being written
    scoring/        how good a detector is, by the labels of a set
    recording/      write and read labelled runs; metadata for sets of them
    play_options    the options with which programs play the catalogue, and its table
    in_memory       a WebSocket and a CAN bus without sockets
    virtual_time    an event loop whose clock leaps over waits
The bus and the OCPP link
    bus             open_bus() and the loopback CAN bus
    can_node        a bus's place in an asyncio program
    can_gateway     passes messages between two buses, and may change them
    bus_check       a round trip of every frame between two processes
    ocpp_link       the hardened OCPP-J endpoint that both ends build on
    man_in_the_middle  hears, changes, drops and adds what goes over the OCPP link
    network_faults  trouble on the OCPP link: late, twice, out of order, squeezed, lost
    ocpp_client     keeps a charge point connected
    ocpp_schemas    the message schemas, compiled once, and the error code for each kind of fault
    ocpp_wire       OCPP-J's JSON: read without trust, write
What the parts know
    anomalies/      the catalogue: each entry a description and one coroutine that plays it
    central_system/ what a central system keeps and decides
    charge_point/   what a charge point keeps and decides
    car             the car's battery
    charger         the power module's physics: pure, step(dt_s)
    detectors/      one file per detector
Plain values
    frames          every CAN id, byte and unit <-> frozen dataclasses (charger.dbc says the same)
    events, labels  what recorders and detectors see; when an anomaly was played
    can_timing      how long a frame occupies the bus
    file_transfer   fetch and deliver files by URL, on this machine only
    clock, errors, rate_limit, security, sqlite, text
    installed       says how to install what is missing (standard library only)

Arrows of import point down; tests/test_architecture.py holds the table.
"""
