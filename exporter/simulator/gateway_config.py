"""What the simulated gateway answers to a request for its settings."""

from exporter.protocol import protobuf, settings
from exporter.protocol.wire import LENGTH, PROTOBUF_OFFSET, frame
from exporter.simulator import messages
from exporter.simulator.messages import Message
from exporter.simulator.settings import GatewaySettings

REFUSED = (settings.NOT_AVAILABLE, "Configuration access via API is not available")


def answer(setup: GatewaySettings, message: Message) -> bytes:
    """ConfigResponse. Raises ValueError if the request cannot be read."""
    trusted = b"".join(protobuf.encode({settings.TRUSTED_ADDRESSES: address}) for address in setup.trusted_addresses)
    written = protobuf.encode(dict(setup.api_settings)) + trusted
    fields: dict[int, protobuf.Field] = {1: messages.integer(message, 1, 1)}
    fields[settings.LOCK_AND_EXIT] = protobuf.encode({1: "11:45 PM", 2: "", 3: "Auto restart"})
    fields[settings.API] = protobuf.encode({settings.API_SETTINGS: written})
    return frame((settings.RESPONSE + PROTOBUF_OFFSET).to_bytes(LENGTH, "big") + protobuf.encode(fields))
