import pytest

from schemas.handlebars import variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no tags { at } all", set()),
        ("{{name}} {{ name }} {{{name}}} {{~name~}} {{&name}}", {"name"}),
        ("{{user.profile.firstName}} {{lines.[0].sku}} {{lines[0]}}", {"user", "lines"}),
        ("{{#if paid}}{{amount}}{{else if late}}{{else}}{{fee}}{{/if}}", {"paid", "amount", "late", "fee"}),
        ("{{#each items}}{{this.name}} {{sku}} {{@index}} {{../currency}} {{@root.shop}}{{/each}}{{total}}",
         {"items", "currency", "shop", "total"}),
        ("{{#unless hidden}}x{{/unless}}{{^empty}}y{{/empty}}", {"hidden", "empty"}),
        ('{{#equals plan "pro plan"}}x{{/equals}}{{insert name "default=Customer"}}', {"plan", "name"}),
        ("{{#greaterThan score 5}}x{{/greaterThan}}{{length cart}}", {"score", "cart"}),
        ("{{formatDate timeStamp dateFormat timezoneOffset}}", {"timeStamp", "dateFormat", "timezoneOffset"}),
        ("{{#and a b}}{{/and}}{{#or (equals c 'x') d}}{{/or}}", {"a", "b", "c", "d"}),
        ("{{! a comment }}{{!-- {{hidden}} --}}{{> partial}}", set()),
        ("{{root.name}} {{}} {{#}} {{/}} {{", {"name"}),
    ],
)  # fmt: skip
def test_the_variables_of_a_template(text: str, expected: set[str]) -> None:
    assert variables(text) == expected


def test_those_of_all_its_parts() -> None:
    assert variables("{{subject}}", "{{body}}") == {"subject", "body"}
