"""A value in a file of its own: a secret, or what differs between machines."""

from pathlib import Path

from exporter.config.checks import InvalidValue, check_account

LARGEST = 65_536  # bytes of a value in a file of its own


def read_value(path: Path) -> str:
    """The text of the file without the white space around it. Raises InvalidValue; what is read is in no message."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        message, remedy = open_failure(error, "Write the file, or mount it")
        raise InvalidValue(f"{path}: {message}", remedy) from None
    if len(raw) > LARGEST:
        raise InvalidValue(f"{path} has more than {LARGEST} bytes", "Name the file that holds the value alone")
    try:
        text = raw.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise InvalidValue(f"{path} is not UTF-8 text", "Save the file as UTF-8") from None
    if not text:
        raise InvalidValue(f"{path} is empty", "Write the value into the file")
    return text


def read_account(path: Path) -> str:
    """The account number in the file. Raises InvalidValue, which does not show what is in the file."""
    text = read_value(path)
    try:
        return check_account(text)
    except InvalidValue:
        message = f"{path} does not hold an account number"
        raise InvalidValue(message, "Write it as TWS shows it, in capitals, such as DU1234567") from None


def open_failure(error: OSError | ValueError, when_missing: str) -> tuple[str, str]:
    """Message and remedy for a file that cannot be opened or read."""
    match error:
        case FileNotFoundError():
            return "there is no such file", when_missing
        case IsADirectoryError():
            remedy = "Docker makes such a directory when the file to mount does not exist on the host"
            return "this is a directory", f"Name the file in it. {remedy}"
        case PermissionError():
            return "the file may not be read", "Let the user that runs the exporter read it (chmod, chown)"
    return f"the file cannot be read: {error}", "Give the path of a regular file"
