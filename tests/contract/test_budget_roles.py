"""Adapters report the roles that have a budget, and ask nobody about others."""

from shared.budgets import Budgets
from shared.messages import Ask
from tests.contract.worlds.discord import DiscordWorld
from tests.contract.worlds.slack import SlackWorld
from tests.fakes.discord import FakeDiscord


def budgets(*roles: str) -> Budgets:
    return Budgets.model_validate({"roles": {role: {"tokens_per_day": 9000} for role in roles}})


def roles_of(event: object) -> tuple[str, ...]:
    assert isinstance(event, Ask)
    return event.roles


async def test_slack_says_who_is_a_guest_and_who_is_of_another_company() -> None:
    world = SlackWorld(SLACK_ALLOW_GUESTS=True, SLACK_ALLOW_EXTERNAL=True)
    world.budgets = budgets("slack:guest", "slack:external", "discord:member")
    async with world:
        for count, (user, roles) in enumerate(
            [("UADA", ()), ("UGUEST", ("guest",)), ("UEXT", ("external",))], 1
        ):
            world.slack.mention("hello", user=user)
            assert roles_of((await world.until_heard(count))[-1]) == roles
        await world.slack.command("/ask", "and here?", user="UGUEST")
        assert roles_of((await world.until_heard(4))[-1]) == ("guest",)


async def test_slack_says_who_is_a_member_if_members_have_a_budget() -> None:
    world = SlackWorld()
    world.budgets = budgets("slack:member")
    async with world:
        world.slack.dm("hello")
        assert roles_of((await world.until_heard())[0]) == ("member",)


async def test_slack_is_not_asked_about_people_without_budgets_for_roles() -> None:
    async with SlackWorld(SLACK_ALLOW_GUESTS=True, SLACK_ALLOW_EXTERNAL=True) as world:
        world.slack.dm("hello")
        assert roles_of((await world.until_heard())[0]) == ()
        assert "users.info" not in [method for method, _ in world.slack.calls]


async def test_discord_reports_the_roles_of_a_member_that_have_a_budget() -> None:
    fake = FakeDiscord()
    staff = str(fake.staff_role_id)
    world = DiscordWorld(fake=fake)
    world.budgets = budgets(f"discord:{staff}", "discord:77", "slack:guest")
    async with world:
        fake.roles_of["bob"] = [staff, str(fake.bot_role_id)]
        await fake.say("hello", mention=True, author="bob")
        await world.until_heard(1)
        await fake.say("hello", mention=True)
        await world.until_heard(2)
        direct = await fake.direct("bob")
        await fake.say("hello", channel=direct, author="bob")
        await world.until_heard(3)
        assert [roles_of(event) for event in world.heard] == [(staff,), (), ()]


async def test_discord_reports_no_roles_without_budgets_for_them() -> None:
    fake = FakeDiscord()
    async with DiscordWorld(fake=fake) as world:
        fake.roles_of["bob"] = [str(fake.staff_role_id)]
        await fake.say("hello", mention=True, author="bob")
        await world.until_heard(1)
        assert roles_of(world.heard[0]) == ()
