"""What the visitors of the demo ask, as conversations: each row is one topic, its questions in the order they come."""

CONVERSATIONS: tuple[tuple[str, ...], ...] = (
    (
        "What does an evening ticket cost for adults and for children under sixteen?",
        "Is there a family ticket, and whom does it cover?",
        "Does the counter in the gatehouse accept cards and cheques?",
        "When are refunds paid for tickets?",
    ),
    (
        "On which days do public evenings take place, and when do they begin?",
        "Why is there no public evening on the night of the full moon?",
        "When is the observatory closed for maintenance?",
    ),
    (
        "How large is the mirror of the Brandt reflector?",
        "Through which telescope do visitors look during public evenings?",
        "When is the solar telescope on the terrace open?",
    ),
    (
        "What is the sky forecast for Friday night?",
        "When does the duty astronomer decide whether an evening goes ahead?",
        "At which wind do the domes close?",
    ),
    (
        "How do I get from the railway station to the gatehouse by bus?",
        "When does the last bus down leave?",
        "Can wheelchairs reach the viewing platform of the west dome?",
    ),
    (
        "Are tripods allowed inside the domes for photographs?",
        "What does the astrophotography evening cost and who leads it?",
    ),
    (
        "What does a membership in the Friends cost a year?",
        "Who founded the association, and how many members has it today?",
        "How is a membership cancelled?",
    ),
    (
        "How long does the visit of a school class last and what does it cost?",
        "Which workshops does the school programme offer?",
        "With whom do teachers book the programme?",
    ),
    (
        "Why are white lights forbidden on the terrace?",
        "Is alcohol or smoking allowed on the ridge?",
    ),
    (
        "Who discovered the asteroid Lindau and when?",
        "How many variable stars does the observatory measure every year?",
        "When do measurements become public?",
    ),
    (
        "How heavy is the meteorite in the exhibition, and may visitors touch it?",
        "How many volumes does the library hold and when does it open?",
        "Can books of the library be borrowed?",
    ),
    (
        "Until when does the cafe serve warm meals?",
        "What does it cost to rent the hall for weddings?",
        "When does the summer festival take place?",
    ),
    (
        "What is the sky forecast for Saturday night?",
        "What happens to ticket holders when an evening is cancelled?",
    ),
)
