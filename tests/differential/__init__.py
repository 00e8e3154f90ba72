"""Models as data, built on PynamoDB and on this project, and compared call by call.

``description`` says what a model and a series of calls are; ``models`` and ``calls`` draw them with
hypothesis; ``building`` makes classes of them, on either side; ``running`` makes the calls;
``pictures`` turns what is sent, returned and raised into what can be compared; ``deliberate`` lists
where the sides are meant to differ.
"""
