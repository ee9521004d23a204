"""The feature profiles of OCPP 1.6: what the charge point answers in each."""
